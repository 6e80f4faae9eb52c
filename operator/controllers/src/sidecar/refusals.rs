use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use parking_lot::Mutex;

/// The pods whose evictions were refused, each by its last refusal, by UID of the sidecar. A new
/// leader does without.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<String, Vec<String>>>);

impl Refusals {
    /// Names of those that are still among the pods and do not end.
    pub(super) fn recall(&self, sidecar: &str, pods: &[Arc<Pod>]) -> Vec<String> {
        let all = self.0.lock();
        let mut refused = all.get(sidecar).cloned().unwrap_or_default();
        refused.retain(|name| {
            let mut pods = pods.iter();
            pods.any(|pod| pod.name_any() == *name && pod.metadata.deletion_timestamp.is_none())
        });
        refused
    }

    /// Adds what came of a look to what was recalled for it.
    pub(super) fn remember(
        &self,
        sidecar: &str,
        mut refused: Vec<String>,
        refusals: &BTreeMap<String, String>,
    ) {
        refused.retain(|name| !refusals.contains_key(name));
        refused.extend(refusals.keys().cloned());
        let mut all = self.0.lock();
        match refused.is_empty() {
            true => all.remove(sidecar),
            false => all.insert(sidecar.to_owned(), refused),
        };
    }

    /// Forgets a sidecar that is gone.
    pub(super) fn forget(&self, sidecar: &str) {
        self.0.lock().remove(sidecar);
    }
}
