use std::collections::HashMap;
use std::sync::Arc;

use futures::Stream;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_placement::{
    AskedFor, Avoided, Explanation, Situation, Waiting, conflict, takes_room,
};

use super::{ApplicationKey, read};
use crate::published::Published;

/// What holds for an application's pods now, and is written in no pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// Pods that wait.
    pub(crate) waiting: Vec<Waiting>,
    /// Nodes that are not chosen for a while.
    pub(crate) avoided: Vec<Avoided>,
    /// Pods that no node can run, and why.
    pub(crate) conflicts: Vec<(String, String)>,
}

/// The standing of each application with data, in memory, for whoever reports it. An application
/// that is absent was not looked at yet.
#[derive(Default)]
pub(crate) struct Standings(Published<ApplicationKey, Standing>);

impl Standings {
    pub(crate) fn get(&self, key: &ApplicationKey) -> Option<Standing> {
        self.0.get(key)
    }

    /// Each application known now, then each one whose standing is another one than before.
    pub(crate) fn changes(&self) -> impl Stream<Item = ApplicationKey> + Send + Unpin + use<> {
        self.0.changes()
    }

    /// Applications of which pods wait.
    pub(super) fn waiting(&self) -> Vec<ApplicationKey> {
        self.0.keys(|found| !found.waiting.is_empty())
    }

    /// Sets what holds now; `None` for an application that is gone, or has no data.
    pub(super) fn publish(&self, key: &ApplicationKey, standing: Option<Standing>) {
        match standing {
            Some(standing) => self.0.change(key, |_| Some(standing)),
            None => self.0.forget(key),
        }
    }
}

/// Whether it is worth telling that a pod waits: it is at the gate, or the scheduler has tried. One
/// that was let go a moment ago is bound as a rule before anybody reads that it is not.
pub(super) fn tells(waiting: &Waiting, pods: &HashMap<&str, &Arc<Pod>>) -> bool {
    let tried = |pod: &&Arc<Pod>| {
        let status = pod.status.as_ref();
        let mut conditions = status
            .into_iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|found| {
            found.type_ == "PodScheduled" && found.reason.as_deref() == Some("Unschedulable")
        })
    };
    waiting.gated || pods.get(waiting.uid.as_str()).is_some_and(tried)
}

/// The pods that no node can run, whatever is free, and why. A pod that was sent to one node has
/// its time for that.
pub(super) fn conflicts(situation: &Situation) -> Vec<(String, String)> {
    let waits = situation.pods.iter().filter(|found| {
        let pod = &found.pod;
        let required = Explanation::of(pod)
            .and_then(Result::ok)
            .is_some_and(|explanation| explanation.mode == AskedFor::Required);
        takes_room(pod)
            && pod.metadata.deletion_timestamp.is_none()
            && read::node_of(pod).is_none()
            && !required
    });
    let mut conflicts: Vec<_> = waits
        .filter_map(|found| Some((found.pod.name_any(), conflict(found, &situation.nodes)?)))
        .collect();
    conflicts.sort();
    conflicts
}
