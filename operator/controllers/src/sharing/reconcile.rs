use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use outrigger_api::IntegrationSidecar;
use outrigger_api::conditions::reason;
use outrigger_lookup::LookupError;
use outrigger_plan::InvalidApplication;

use super::apply::ApplyError;
use super::pods::{unused, wanted};
use super::standing::Sharing;
use super::watched::Watched;
use super::{apply, decide, read, report};
use crate::drive::LOOK_AGAIN;
use crate::status::{self, Progress, Summary};

/// A shared sidecar could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error(transparent)]
    Plan(#[from] InvalidApplication),
    #[error(transparent)]
    Apply(#[from] ApplyError),
}

impl Failure {
    /// What is to be said of a failure that does not pass by itself.
    fn summary(&self) -> Option<Summary> {
        let error = match self {
            Failure::Plan(_)
            | Failure::Apply(ApplyError::Refused { .. } | ApplyError::Foreign { .. }) => {
                return Some(Summary {
                    progress: Progress::Stalled,
                    reason: reason::FUNCTION_PODS_PENDING,
                    message: self.to_string(),
                });
            }
            Failure::Read(failure) | Failure::Apply(ApplyError::Rules(failure)) => &failure.error,
            Failure::Apply(ApplyError::Call(failure)) => &failure.error,
        };
        status::objection(self, error)
    }
}

/// Reads, decides, applies, and publishes what is to be reported.
pub(super) async fn reconcile(
    sidecar: Arc<IntegrationSidecar>,
    watched: Arc<Watched>,
) -> Result<Action, Failure> {
    let result = steps(&sidecar, &watched).await;
    let context = &watched.context;
    if let Err(failure) = &result
        && let Some(obstacle) = failure.summary()
    {
        let known = context.sharings.get(&sidecar);
        let (pods, planned) =
            known.map_or_else(Default::default, |known| (known.pods, known.planned));
        let sharing = Sharing {
            pods,
            obstacle: Some(obstacle),
            planned,
        };
        context.sharings.publish(&sidecar, Some(sharing));
    }
    result
}

async fn steps(sidecar: &Arc<IntegrationSidecar>, watched: &Watched) -> Result<Action, Failure> {
    let uid = sidecar.uid().unwrap_or_default();
    let found = read::read(sidecar, watched).await?;
    if !found.is_needed() {
        let again = apply::remove(watched, &found).await?;
        watched.memory.forget(&uid);
        watched.context.sharings.publish(sidecar, None);
        return Ok(Action::requeue(again.unwrap_or(LOOK_AGAIN)));
    }
    let plan = decide::plan(&found)?;
    let wanted = wanted(&plan, &found.consumers);
    let unused = unused(&plan, &found.consumers, &wanted, &found.pods);
    let (expired, expires) = watched.memory.expired(&uid, unused);
    let settings = &watched.context.settings;
    let decision = decide::decide(&found, plan, &wanted, &expired, settings, Timestamp::now());
    let retells = apply::apply(watched, &found, &decision).await?;
    let sharing = report::sharing(&found, &decision);
    watched.context.sharings.publish(sidecar, Some(sharing));
    let failed = decision.pods.again.map(|again| again.unsigned_abs());
    let again = [expires, retells, failed].into_iter().flatten().min();
    Ok(Action::requeue(again.unwrap_or(LOOK_AGAIN)))
}
