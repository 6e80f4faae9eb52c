use jiff::Timestamp;
use json_patch::Patch;

use crate::{Avoided, Explanation};

/// What is done now about the pods of one application.
///
/// Everything in it is in order of the pods' names, and safe to do twice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Decision {
    /// Pods to let go.
    pub releases: Vec<Release>,
    /// Pods to delete, so that their controllers create others. Their nodes are in `avoided`, which
    /// has to be kept before the first one is deleted.
    pub replacements: Vec<Replacement>,
    /// Pods that wait: gated ones, and released ones that the scheduler has not bound.
    pub waiting: Vec<Waiting>,
    /// Nodes to avoid from now on; the next situation's.
    pub avoided: Vec<Avoided>,
    /// When to decide again, if nothing changes before.
    pub deadline: Option<Timestamp>,
}

/// A pod to let go.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// The one patch that says where it should go, why, and removes the gate. It fails on another
    /// pod of that name, and on one without the gate.
    pub patch: Patch,
    /// What the patch writes into the annotation.
    pub explanation: Explanation,
}

/// A pod to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod, a precondition of the deletion.
    pub uid: String,
    /// Why, for people.
    pub reason: String,
}

/// A pod that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Name of the pod.
    pub pod: String,
    /// UID of the pod.
    pub uid: String,
    /// Whether it waits behind our gate, and not for the scheduler.
    pub gated: bool,
    /// What for and until when, in a sentence.
    pub reason: String,
    /// When something else will be decided about it. Always there for gated pods.
    pub until: Option<Timestamp>,
}
