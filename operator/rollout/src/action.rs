//! What the operator does for a rollout.

use crate::Consumer;
use crate::pod::PodChange;
use crate::revision::{Failure, KnownRevision};

/// What is to be done now, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create a ControllerRevision.
    KeepRevision(KnownRevision),
    /// Give a ControllerRevision a higher number.
    Renumber {
        /// Its name.
        revision: String,
        /// The number.
        number: i64,
    },
    /// Record the digest on a ControllerRevision.
    RecordDigest {
        /// Its name.
        revision: String,
        /// The digest.
        digest: String,
    },
    /// Mark a ControllerRevision as failed.
    FailRevision {
        /// Its name.
        revision: String,
        /// For the pods of this application only.
        application: Option<String>,
        /// Why.
        failure: Failure,
    },
    /// Delete a ControllerRevision.
    RemoveRevision(String),
    /// Create a preflight pod.
    Try {
        /// With whose configuration.
        consumer: Consumer,
        /// The node, or any.
        node: Option<String>,
        /// The image.
        image: String,
        /// Name of the revision.
        revision: String,
    },
    /// Delete a preflight pod.
    EndTrial(String),
    /// Patch a pod.
    Patch(Box<PodChange>),
    /// Evict a pod, whose controller creates it anew with another revision.
    Evict {
        /// Its name.
        pod: String,
        /// Its UID.
        uid: String,
        /// The revision that its successor gets.
        revision: String,
    },
}
