use std::collections::BTreeMap;

use jiff::Timestamp;
use outrigger_api::conditions::reason;
use outrigger_api::{IntegrationSidecar, IntegrationSidecarStatus};
use outrigger_rollout::{Decision, State};

use super::configuration::Refused;
use super::watched::Watched;
use crate::sharing::Sharing;
use crate::status::{self, Progress, Summary};

/// What is said of a sidecar: of its rollout, of evictions that budgets refused and, when the rollout
/// needs nobody, of its function pods and of refused configuration.
pub(super) fn summary(
    decision: &Decision,
    sharing: Option<&Sharing>,
    kept: &BTreeMap<String, String>,
    refused: &[Refused],
) -> Summary {
    let told = &decision.summary;
    let kept = kept.first_key_value();
    if let Some((pod, kept)) = kept.filter(|_| told.state == State::Reconciling) {
        return Summary {
            progress: Progress::Reconciling,
            reason: reason::WAITING,
            message: format!("pod {pod}: {kept}; {}", told.message),
        };
    }
    let obstacle = sharing.and_then(|sharing| sharing.obstacle.as_ref());
    if let Some(obstacle) = obstacle.filter(|_| told.state == State::Ready) {
        return obstacle.clone();
    }
    match refused.first() {
        Some(first) if told.state == State::Ready => {
            let others = match refused.len() - 1 {
                0 => String::new(),
                others => format!("; {others} more pods refuse theirs"),
            };
            Summary {
                progress: Progress::Stalled,
                reason: reason::CONFIGURATION_REFUSED,
                message: format!(
                    "pod {}: slot {} refuses its configuration and goes on with the last good one: {}{others}",
                    first.pod, first.slot, first.message
                ),
            }
        }
        _ => Summary {
            progress: match told.state {
                State::Ready => Progress::Ready,
                State::Reconciling => Progress::Reconciling,
                State::Stalled => Progress::Stalled,
            },
            reason: told.reason,
            message: told.message.clone(),
        },
    }
}

/// Writes the status, if it says something new.
pub(super) async fn report(
    watched: &Watched,
    sidecar: &IntegrationSidecar,
    mut wanted: IntegrationSidecarStatus,
    summary: &Summary,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let context = &watched.context;
    let found = sidecar.status.as_ref();
    let conditions = found.map_or(&[][..], |found| &found.conditions);
    wanted.conditions = summary.conditions(conditions, sidecar.metadata.generation, now);
    let told = found.is_some_and(|found| {
        status::reason(&found.conditions) == Some(summary.reason)
            && found.observed_generation == wanted.observed_generation
    });
    let written = status::report(&context.client, sidecar, found, &wanted).await?;
    if written && !told {
        context.events.tell(sidecar, summary).await;
    }
    Ok(())
}
