use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use kube::ResourceExt;
use outrigger_rollout::{Application, Decision, Observed, carriers, decide};

use super::read::Found;
use super::slots::{Slots, among};

/// Decides, asking those slots whose answers lead further. Each is asked once.
pub(super) async fn decided(
    found: &Found,
    applications: &[Application],
    slots: &Slots,
    now: impl Fn() -> Timestamp,
) -> Decision {
    let pods = found.pods.iter().map(AsRef::as_ref);
    let (pods, _) = carriers(pods, &found.sidecar.name_any());
    let mut answers = BTreeMap::new();
    loop {
        let decision = decide(&Observed {
            sidecar: &found.sidecar,
            applications,
            pods: &found.pods,
            revisions: &found.revisions,
            trials: &found.trials,
            budgets: &found.budgets,
            answers: &answers,
            now: now(),
        });
        let unasked: BTreeSet<_> = decision
            .ask
            .iter()
            .filter(|uid| !answers.contains_key(*uid))
            .cloned()
            .collect();
        if unasked.is_empty() {
            return decision;
        }
        let pods = among(&pods, &unasked);
        if pods.is_empty() {
            return decision;
        }
        answers.extend(slots.ask(&pods).await);
    }
}
