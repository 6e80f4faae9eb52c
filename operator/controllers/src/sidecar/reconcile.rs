use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::runtime::controller::Action;
use outrigger_api::conditions::reason;
use outrigger_api::{IntegrationSidecar, IntegrationSidecarStatus};
use outrigger_lookup::LookupError;
use outrigger_rollout::{Action as Act, Consumers, Decision, carriers};

use super::apply::{self, ApplyError};
use super::read::{self, Found};
use super::watched::{Watched, key};
use super::{decide, refusals, report, validate};
use crate::drive::LOOK_AGAIN;
use crate::sharing::Sharing;
use crate::status::{self, Progress, Summary};

/// Pause between two looks at slots that take over a configuration.
const SETTLING: Duration = Duration::from_secs(2);
/// Most pods asked in one look: a new leader knows of none what it uses.
const SETTLING_AT_ONCE: usize = 64;
/// Longest pause after a failure while a pod is in the middle of its swap.
const SWAPPING: Duration = Duration::from_secs(1);
/// Pause after a look in which nothing was done but evictions tried that were refused.
const REFUSED: Duration = Duration::from_secs(5);

/// A sidecar could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("status cannot be written: {0}")]
    Report(kube::Error),
}

impl Failure {
    /// What is to be said of a failure that does not pass by itself.
    fn summary(&self) -> Option<Summary> {
        let error = match self {
            Failure::Apply(ApplyError::Refused(_)) => {
                return Some(Summary {
                    progress: Progress::Stalled,
                    reason: reason::PREFLIGHT_FAILED,
                    message: format!("{self}; no further pod is touched"),
                });
            }
            Failure::Read(failure) | Failure::Apply(ApplyError::Rules(failure)) => &failure.error,
            Failure::Apply(ApplyError::Call(failure)) => &failure.error,
            Failure::Report(error) => error,
        };
        status::objection(self, error)
    }
}

/// Reads, validates, decides, applies and reports.
pub(super) async fn reconcile(
    sidecar: Arc<IntegrationSidecar>,
    watched: Arc<Watched>,
) -> Result<Action, Failure> {
    let (sidecar, watched) = (&sidecar, &*watched);
    let found = match read::read(sidecar, watched).await {
        Ok(found) => found,
        Err(error) => {
            let status = sidecar.status.clone().unwrap_or_default();
            return interrupted(sidecar, watched, status, error.into()).await;
        }
    };
    let applications = validate::validate(&found);
    let sharing = watched.context.sharings.get(sidecar);
    let shared = sharing.as_ref().and_then(Sharing::plan);
    let refused = refusals::still(watched.refusals.recall(&uid(sidecar)), &found.pods);
    let decided = decide::decided(
        &found,
        &applications,
        shared,
        &refused,
        watched,
        Timestamp::now,
    );
    let mut decision = match decided.await {
        Ok(decision) => decision,
        Err(error) => {
            let status = sidecar.status.clone().unwrap_or_default();
            return interrupted(sidecar, watched, status, error.into()).await;
        }
    };
    decision.status.function_pods = sharing.as_ref().map(|sharing| sharing.pods.clone());
    let consumers = Consumers::new(&applications, shared);
    let applied = apply::apply(watched, &found, &consumers, &decision.actions).await;
    let outcomes = match applied {
        Ok(outcomes) => outcomes,
        Err(error) => {
            return interrupted(sidecar, watched, decision.status, error.into()).await;
        }
    };
    let refused = refusals::after(refused, &outcomes.refusals);
    watched.refusals.remember(&uid(sidecar), refused);
    // A swap does not wait for slots at rest.
    let busy = !decision.ask.is_empty() || !decision.actions.is_empty();
    let settled = !busy && settle(&found, watched).await;
    let refused = watched.settling.refusals(&key(sidecar));
    let sharing = sharing.as_ref();
    let summary = report::summary(&decision, sharing, &outcomes.refusals, &refused);
    let mut again = pause(&decision, settled);
    let Decision {
        actions, status, ..
    } = &mut decision;
    if forget_refused(status, actions, &outcomes.refusals) {
        again = REFUSED;
    }
    match outcomes.current {
        true => watched.overtaken.reset(&uid(sidecar)),
        false => again = again.min(watched.overtaken.failed(uid(sidecar))),
    }
    report::report(
        watched,
        sidecar,
        decision.status,
        &summary,
        Timestamp::now(),
    )
    .await
    .map_err(Failure::Report)?;
    Ok(Action::requeue(again))
}

/// Says what does not pass by itself, beside the status as it is known.
async fn interrupted(
    sidecar: &IntegrationSidecar,
    watched: &Watched,
    mut status: IntegrationSidecarStatus,
    failure: Failure,
) -> Result<Action, Failure> {
    if let Some(summary) = failure.summary() {
        status.observed_generation = sidecar.metadata.generation;
        report::report(watched, sidecar, status, &summary, Timestamp::now())
            .await
            .map_err(Failure::Report)?;
    }
    Err(failure)
}

/// Asks pods at rest that may refuse their configuration; whether there is nothing more to learn.
async fn settle(found: &Found, watched: &Watched) -> bool {
    let sidecar = key(&found.sidecar);
    let pods = found.pods.iter().map(AsRef::as_ref);
    let (pods, _) = carriers(pods, &found.sidecar.name_any());
    let mut unsettled = watched
        .settling
        .unsettled(&sidecar, &pods, Timestamp::now());
    let is_all = unsettled.len() <= SETTLING_AT_ONCE;
    unsettled.truncate(SETTLING_AT_ONCE);
    let answers = watched.slots.ask(&unsettled).await;
    let now = Timestamp::now();
    watched.settling.learn(&sidecar, &unsettled, &answers, now) && is_all
}

/// Takes the evictions that were refused out of a status: with them it would be another one after
/// each look, and each write of it lead to the next. Whether nothing else was done.
fn forget_refused(
    status: &mut IntegrationSidecarStatus,
    actions: &[Act],
    refusals: &BTreeMap<String, String>,
) -> bool {
    let swaps = &mut status.swaps;
    swaps.retain(|swap| !refusals.contains_key(&swap.pod));
    let mut actions = actions.iter();
    !refusals.is_empty()
        && actions
            .all(|action| matches!(action, Act::Evict { pod, .. } if refusals.contains_key(pod)))
}

fn pause(decision: &Decision, settled: bool) -> Duration {
    let again = decision
        .again
        .unwrap_or(SignedDuration::MAX)
        .unsigned_abs()
        .min(LOOK_AGAIN);
    match settled {
        true => again,
        false => again.min(SETTLING),
    }
}

/// Longest pause after a failure.
pub(super) fn longest_pause(sidecar: &IntegrationSidecar) -> Duration {
    let status = sidecar.status.as_ref();
    match status.is_some_and(|status| !status.swaps.is_empty()) {
        true => SWAPPING,
        false => Duration::MAX,
    }
}

fn uid(sidecar: &IntegrationSidecar) -> String {
    sidecar.uid().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use outrigger_api::PodSwap;

    use super::*;

    fn eviction(pod: &str) -> Act {
        Act::Evict {
            pod: pod.to_owned(),
            uid: pod.to_owned(),
            revision: "orders-2".to_owned(),
        }
    }

    #[test]
    fn a_refused_eviction_is_neither_in_the_status_nor_a_thing_done() {
        let refusals = BTreeMap::from([("web-0".to_owned(), "no room".to_owned())]);
        let swap = |pod: &str| PodSwap {
            pod: pod.to_owned(),
            phase: "Evicted".to_owned(),
            since: "2026-01-01T00:00:00Z".to_owned(),
        };
        let mut status = IntegrationSidecarStatus {
            swaps: vec![swap("web-0"), swap("web-1")],
            ..IntegrationSidecarStatus::default()
        };
        let refused = [eviction("web-0")];
        assert!(forget_refused(&mut status, &refused, &refusals));
        assert_eq!(status.swaps, [swap("web-1")]);
        let both = [eviction("web-0"), eviction("web-1")];
        assert!(!forget_refused(&mut status, &both, &refusals));
        assert!(!forget_refused(&mut status, &[], &BTreeMap::new()));
    }
}
