use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{self, Taint};
use kube::ResourceExt;
use outrigger_resources::Amounts;

/// Label with a node's zone.
pub const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// Label with a node's host name, which is its name as a rule.
pub const HOSTNAME_LABEL: &str = "kubernetes.io/hostname";

/// A node as a decision sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its UID: a node that was created again under the same name has another one.
    pub uid: String,
    /// When it was created.
    pub created: Option<Timestamp>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// Whether it is marked as unschedulable.
    pub cordoned: bool,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// What it offers, and what its pods have not taken; `pods` is one of the resources.
    pub free: Amounts,
}

/// One place among those that a node has for pods.
const PLACE: i128 = 1_000_000_000;

impl Node {
    /// A node with the pods on it. Pods that have ended take no room, and are ignored.
    pub fn new<'a>(node: &v1::Node, pods: impl IntoIterator<Item = &'a v1::Pod>) -> Node {
        let spec = node.spec.as_ref();
        let status = node.status.as_ref();
        let mut free = Amounts::of(status.and_then(|status| status.allocatable.as_ref()));
        for pod in pods.into_iter().filter(|pod| takes_room(pod)) {
            free.subtract(&room(pod));
        }
        Node {
            name: node.name_any(),
            uid: node.uid().unwrap_or_default(),
            created: node.creation_timestamp().map(|created| created.0),
            labels: node.labels().clone(),
            ready: is_ready(node),
            cordoned: spec.and_then(|spec| spec.unschedulable) == Some(true),
            taints: spec
                .and_then(|spec| spec.taints.clone())
                .unwrap_or_default(),
            free,
        }
    }

    /// The zone that it is in.
    pub fn zone(&self) -> Option<&str> {
        self.labels.get(ZONE_LABEL).map(String::as_str)
    }
}

/// Whether a node's condition Ready is True.
pub fn is_ready(node: &v1::Node) -> bool {
    let status = node.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let ready =
        |condition: &v1::NodeCondition| condition.type_ == "Ready" && condition.status == "True";
    conditions.into_iter().flatten().any(ready)
}

/// How many pods that take so much fit where so much is free.
pub(crate) fn slots(free: &Amounts, room: &Amounts) -> u32 {
    let fitting = room.iter().filter(|(_, nanos)| *nanos > 0);
    let fitting = fitting.map(|(name, nanos)| free.get(name).max(0) / nanos);
    u32::try_from(fitting.min().unwrap_or_default()).unwrap_or(u32::MAX)
}

/// What a pod takes from its node: its requests, and one place.
pub fn room(pod: &v1::Pod) -> Amounts {
    let mut room = outrigger_resources::requests(pod);
    room.set("pods", PLACE);
    room
}

/// Whether a pod takes room on its node: it has not ended.
pub fn takes_room(pod: &v1::Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}
