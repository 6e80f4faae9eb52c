use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_lookup::Mirror;
use outrigger_placement::is_gated;

/// Pods that were let go a moment ago, as the API server answered, by UID: the mirror may still
/// show them at the gate, and a second decision would count on the same room.
#[derive(Default)]
pub(super) struct Assumed(HashMap<String, Arc<Pod>>);

impl Assumed {
    /// The API server has let a pod go.
    pub(super) fn released(&mut self, pod: Pod) {
        if let Some(uid) = pod.uid() {
            self.0.insert(uid, Arc::new(pod));
        }
    }

    /// The pods of a mirror, each in the newest form that is known of it.
    pub(super) fn over(&mut self, mirror: &Mirror<Pod>) -> Vec<Arc<Pod>> {
        let mut pods = mirror.store().state();
        let mut behind = HashMap::new();
        for pod in &mut pods {
            let newer = pod.uid().and_then(|uid| self.0.remove_entry(&uid));
            if let Some((uid, newer)) = newer.filter(|_| is_gated(pod)) {
                *pod = Arc::clone(&newer);
                behind.insert(uid, newer);
            }
        }
        // The others have been seen, or are gone.
        self.0 = behind;
        pods
    }
}
