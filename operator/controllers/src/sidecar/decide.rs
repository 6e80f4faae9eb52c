use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use outrigger_lookup::LookupError;
use outrigger_plan::SharedPlan;
use outrigger_rollout::{Application, Decision, Observed, carriers, decide};

use super::read::{self, Found};
use super::slots::among;
use super::watched::Watched;

/// Decides, asking those slots whose answers lead further, and for the budgets if those do. Each is
/// asked once.
pub(super) async fn decided(
    found: &Found,
    applications: &[Application],
    shared: Option<&SharedPlan>,
    refused: &[String],
    watched: &Watched,
    now: impl Fn() -> Timestamp,
) -> Result<Decision, LookupError> {
    let pods = found.pods.iter().map(AsRef::as_ref);
    let (pods, _) = carriers(pods, &found.sidecar.name_any());
    let mut answers = BTreeMap::new();
    let mut budgets = None;
    loop {
        let decision = decide(&Observed {
            sidecar: &found.sidecar,
            applications,
            shared,
            pods: &found.pods,
            lost_nodes: &found.lost_nodes,
            missing: &found.successors.missing,
            refused,
            revisions: &found.revisions,
            trials: &found.trials,
            budgets: budgets.as_deref(),
            answers: &answers,
            now: now(),
        });
        let unasked: BTreeSet<_> = decision
            .ask
            .iter()
            .filter(|uid| !answers.contains_key(*uid))
            .cloned()
            .collect();
        let ask_budgets = decision.ask_budgets && budgets.is_none();
        let pods = among(&pods, &unasked);
        if pods.is_empty() && !ask_budgets {
            return Ok(decision);
        }
        if ask_budgets {
            let namespace = found.sidecar.namespace().unwrap_or_default();
            budgets = Some(read::budgets(watched, &namespace).await?);
        }
        answers.extend(watched.slots.ask(&pods).await);
    }
}
