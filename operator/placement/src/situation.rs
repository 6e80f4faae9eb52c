use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use outrigger_api::LocalityMode;
use outrigger_resources::Amounts;

use crate::volume::Claim;
use crate::{Located, Node};

/// All that bears on where the pods of one application go.
///
/// The order of the lists does not matter.
#[derive(Clone, Debug)]
pub struct Situation {
    /// Name of the IntegratedApp.
    pub application: String,
    /// How near to their data its pods go.
    pub locality: Locality,
    /// All nodes of the cluster.
    pub nodes: Arc<[Node]>,
    /// All pods of the application, of every template and phase.
    pub pods: Vec<AppPod>,
    /// How many pods are wanted.
    pub workload: Workload,
    /// The data that the pods read; empty if the application names none.
    pub data: Vec<Data>,
    /// Room that pods of other applications will take, which were let go and which `nodes` do not
    /// show yet.
    pub reserved: Vec<Reserved>,
    /// Nodes to avoid, as the last decision said.
    pub avoided: Vec<Avoided>,
    /// The time now.
    pub now: Timestamp,
}

/// How near to their data pods go: `spec.locality` with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Locality {
    /// Whether pods wait for a node that holds data.
    pub mode: Mode,
    /// Seconds after which a pod that waits is released all the same, counted from the first
    /// attempt.
    pub relax_after_seconds: u32,
    /// Seconds that the scheduler has for binding a pod that was sent to one node.
    pub bind_timeout_seconds: u32,
    /// Data with fewer bytes place no pod.
    pub threshold_bytes: u64,
    /// By how many pods a node that holds data may be ahead of another one with room.
    pub max_skew: u32,
}

/// Whether pods wait for a node that holds data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The scheduler may choose another node.
    Preferred,
    /// A pod waits for a node that holds some of its data.
    Required,
}

impl Locality {
    /// `spec.locality` of an IntegratedApp, with its defaults.
    pub fn of(found: Option<&outrigger_api::Locality>) -> Locality {
        let found = outrigger_api::Locality::effective(found);
        let seconds = |found: Option<i64>| u32::try_from(found.unwrap_or_default());
        let threshold = found.threshold_bytes.unwrap_or_default();
        Locality {
            mode: match found.mode.unwrap_or_default() {
                LocalityMode::Preferred => Mode::Preferred,
                LocalityMode::Required => Mode::Required,
            },
            relax_after_seconds: seconds(found.relax_after_seconds).unwrap_or_default(),
            bind_timeout_seconds: seconds(found.bind_timeout_seconds).unwrap_or_default(),
            threshold_bytes: u64::try_from(threshold).unwrap_or_default(),
            max_skew: u32::try_from(found.max_skew.unwrap_or_default()).unwrap_or(1),
        }
    }
}

/// How many pods are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Replicas of a long-running workload, alike or by ordinal from `start`.
    Replicas {
        /// The desired number.
        replicas: u32,
        /// The first ordinal of a StatefulSet (`spec.ordinals.start`); 0 for others.
        start: u32,
    },
    /// Pods of a Job.
    Indexed {
        /// `spec.completions`.
        completions: u32,
        /// `spec.parallelism`.
        parallelism: u32,
    },
    /// As many as there are.
    Unknown,
}

/// A pod of the application.
#[derive(Clone, Debug)]
pub struct AppPod {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What is known of each PersistentVolumeClaim that it mounts; not needed of a pod on a node.
    pub claims: Vec<Claim>,
    /// What becomes of it when it is deleted; see [`Replaceable::of`].
    pub replaceable: Replaceable,
}

/// What becomes of a pod that is deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replaceable {
    /// Its controller creates another one.
    Yes,
    /// Its Job creates another one, and counts the deletion as a failure.
    CountedByJob {
        /// UID of the Job.
        job: String,
        /// How many failures it still bears.
        left: u32,
    },
    /// It would be lost.
    No {
        /// Why, such as "no controller owns it".
        reason: String,
    },
}

/// Data that the pods read.
#[derive(Clone, Debug)]
pub struct Data {
    /// Name of the Dataset.
    pub dataset: String,
    /// What a byte of it counts.
    pub weight: u32,
    /// Which part of it a pod reads.
    pub split: Split,
    /// What is known of it.
    pub state: DataState,
}

/// Which part of a dataset a pod reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// All of it.
    All,
    /// The pod with index i reads part i, counted on from the first part after the last.
    ByIndex,
}

/// What is known of a dataset.
#[derive(Clone, Debug)]
pub enum DataState {
    /// Where its bytes are.
    Located {
        /// Where they are.
        located: Arc<Located>,
        /// When that was found.
        as_of: Timestamp,
    },
    /// Nothing yet: its first scan is under way.
    NotScannedYet {
        /// Since when.
        since: Timestamp,
    },
    /// It cannot be looked at.
    Failed {
        /// Why, for people.
        reason: String,
        /// What was known before.
        last_known: Option<Arc<Located>>,
    },
}

/// Room on a node that a pod will take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Name of the node.
    pub node: String,
    /// UID of the pod.
    pub pod_uid: String,
    /// What the pod asks for.
    pub requests: Amounts,
}

/// A node that is not chosen for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avoided {
    /// Name of the node.
    pub node: String,
    /// UID of the node: another node of the same name is not avoided.
    pub node_uid: String,
    /// Why, for people.
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// When the pod that was not bound was attempted first. `relaxAfterSeconds` counts from here
    /// for the pod that replaces it.
    pub first_attempt: Timestamp,
}
