use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use parking_lot::Mutex;

use crate::application::read::Found;

/// What evictions are to bring about: generations of the application and of its sidecars.
pub(super) type Wanted = Vec<(String, Option<i64>)>;

/// What is remembered of the pods of each application that are created anew. A new leader begins
/// without it, and evicts one more time at most before it knows the same again.
#[derive(Debug, Default)]
pub(crate) struct Repairs {
    by_application: Mutex<BTreeMap<String, Memory>>,
}

/// What is remembered of one application.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) wanted: Wanted,
    /// UIDs of the pods that were there before the first eviction; all others came after it.
    pub(super) before: Option<BTreeSet<String>>,
    /// UIDs of the pods that were evicted. What is read may not show it yet.
    pub(super) evicted: BTreeSet<String>,
}

/// What the pods of an application are made from.
pub(super) fn wanted(found: &Found) -> Wanted {
    let application = (String::new(), found.application.metadata.generation);
    let sidecars = found.referenced.sidecars.values();
    let sidecars = sidecars.map(|sidecar| (sidecar.name_any(), sidecar.metadata.generation));
    std::iter::once(application).chain(sidecars).collect()
}

impl Repairs {
    /// What is remembered; another spec makes another beginning.
    pub(super) fn recall(&self, application: &str, wanted: &Wanted) -> Memory {
        let mut all = self.by_application.lock();
        let memory = all.entry(application.to_owned()).or_default();
        if memory.wanted != *wanted {
            memory.wanted.clone_from(wanted);
            memory.before = None;
        }
        memory.clone()
    }

    /// Remembers which pods are there before the first eviction.
    pub(super) fn begin(&self, application: &str, present: &BTreeSet<String>) {
        let mut all = self.by_application.lock();
        let memory = all.entry(application.to_owned()).or_default();
        memory.evicted.retain(|uid| present.contains(uid));
        memory.before.get_or_insert_with(|| present.clone());
    }

    /// Remembers a pod that was evicted, or was gone.
    pub(super) fn evicted(&self, application: &str, pod: String) {
        let mut all = self.by_application.lock();
        all.entry(application.to_owned())
            .or_default()
            .evicted
            .insert(pod);
    }

    /// Forgets an application whose pods are right, or that is gone.
    pub(crate) fn forget(&self, application: &str) {
        self.by_application.lock().remove(application);
    }
}
