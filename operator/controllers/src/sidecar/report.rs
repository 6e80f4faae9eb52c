use std::collections::BTreeMap;

use jiff::Timestamp;
use outrigger_api::conditions::reason;
use outrigger_api::{IntegrationSidecar, IntegrationSidecarStatus};
use outrigger_rollout::{Decision, State};

use super::configuration::Refused;
use super::watched::Watched;
use crate::sharing::Sharing;
use crate::status::{self, Progress, Summary};

/// What is said of a sidecar: of its rollout, of evictions that budgets refused and of function pods;
/// of refused configuration only when it waits for none of those.
///
/// The rollout comes first, except that what needs a change by somebody comes before a rollout that
/// goes on.
pub(super) fn summary(
    decision: &Decision,
    sharing: Option<&Sharing>,
    kept: &BTreeMap<String, String>,
    refused: &[Refused],
) -> Summary {
    let told = &decision.summary;
    let obstacle = sharing.and_then(|sharing| sharing.obstacle.as_ref());
    match told.state {
        State::Ready => match (obstacle, refused.split_first()) {
            (Some(obstacle), _) => obstacle.clone(),
            (None, Some((first, others))) => configuration_refused(first, others.len()),
            (None, None) => plain(decision, Progress::Ready),
        },
        State::Reconciling => {
            let mut summary = plain(decision, Progress::Reconciling);
            if let Some((pod, kept)) = kept.first_key_value() {
                summary.reason = reason::WAITING;
                summary.message = format!("pod {pod}: {kept}; {}", told.message);
            }
            match obstacle {
                Some(obstacle) if obstacle.progress == Progress::Stalled => {
                    followed(obstacle.clone(), Some(&summary))
                }
                // It may be what the rollout waits for.
                obstacle => followed(summary, obstacle),
            }
        }
        State::Stalled => followed(plain(decision, Progress::Stalled), obstacle),
    }
}

/// What is said, with what is to be said after it.
fn followed(mut first: Summary, then: Option<&Summary>) -> Summary {
    if let Some(then) = then {
        first.message = format!("{}; {}", first.message, then.message);
    }
    first
}

/// What is said of the rollout itself.
fn plain(decision: &Decision, progress: Progress) -> Summary {
    Summary {
        progress,
        reason: decision.summary.reason,
        message: decision.summary.message.clone(),
    }
}

fn configuration_refused(first: &Refused, others: usize) -> Summary {
    let others = match others {
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
