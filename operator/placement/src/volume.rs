use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::NodeSelectorTerm;

/// A PersistentVolumeClaim that a pod mounts, and what is known of its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its name.
    pub name: String,
    /// What is known of its place.
    pub place: Place,
}

/// Where a claim's data are.
#[derive(Clone, Debug, PartialEq)]
pub enum Place {
    /// There is no such claim: its pod cannot run anywhere yet.
    Missing,
    /// Its volume is gone: its pod cannot run anywhere.
    Lost {
        /// Name of the volume.
        volume: String,
    },
    /// It will be bound where its pod goes (`volumeBindingMode: WaitForFirstConsumer`).
    NotYetAnywhere,
    /// It will be bound without regard to its pod, but is not yet.
    BeingBound,
    /// It is bound to a volume.
    Bound(Volume),
}

/// A PersistentVolume.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Its capacity.
    pub bytes: u64,
    /// The terms of `spec.nodeAffinity.required`, of which one has to match; `None` if any node
    /// can mount it.
    pub terms: Option<Vec<NodeSelectorTerm>>,
    /// Names of nodes that match, but were created after a volume that is a directory or a disk of
    /// its node, so that its data cannot be there.
    pub recreated: BTreeSet<String>,
    /// Names of the nodes that a network disk is attached to.
    pub attached: BTreeSet<String>,
}
