use std::fmt;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec};
use kube::ResourceExt;

use crate::eligible::required_terms;
use crate::{HOSTNAME_LABEL, Mode, Size};

/// What is known of a dataset when a pod that reads it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Its bytes, now or when it could be looked at last.
    Bytes {
        /// All of them.
        bytes: u64,
        /// How many nodes hold some.
        holders: usize,
    },
    /// Nothing yet: its first scan is under way, or the Dataset does not exist yet.
    NotScannedYet,
    /// It cannot be looked at, and never could.
    Failed,
}

/// Whether a new pod waits behind our gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It waits for a decision.
    Wait,
    /// The scheduler may place it at once.
    Pass(Pass),
}

/// Why a gate would buy nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// The application names no data.
    NoData,
    /// The pod names its node.
    OnNode,
    /// A DaemonSet sends the pod to its node.
    OfDaemonSet,
    /// The pod's selectors leave one node.
    Pinned,
    /// There are fewer bytes than the threshold.
    BelowThreshold {
        /// All bytes.
        bytes: u64,
        /// The threshold.
        threshold: u64,
    },
    /// No node holds any byte.
    OnNoNode,
    /// None of the data can be looked at, and the pod may go anywhere.
    NotKnown,
}

/// Whether a gate buys something for a new pod: a better node, for which a decision is worth the
/// wait. Data that were not scanned yet are worth it.
pub fn gate(pod: &Pod, mode: Mode, threshold: u64, data: &[Known]) -> Gate {
    let bought = of_pod(pod).or_else(|| of_data(mode, threshold, data));
    bought.map_or(Gate::Wait, Gate::Pass)
}

fn of_pod(pod: &Pod) -> Option<Pass> {
    let owner = |kind: &str| {
        let mut owners = pod.owner_references().iter();
        owners.any(|owner| owner.controller == Some(true) && owner.kind == kind)
    };
    let spec = pod.spec.as_ref()?;
    if spec
        .node_name
        .as_deref()
        .is_some_and(|name| !name.is_empty())
    {
        Some(Pass::OnNode)
    } else if owner("DaemonSet") {
        Some(Pass::OfDaemonSet)
    } else {
        pinned(spec).then_some(Pass::Pinned)
    }
}

fn pinned(spec: &PodSpec) -> bool {
    let mut labels = spec.node_selector.iter().flatten();
    let terms = required_terms(spec).unwrap_or_default();
    labels.any(|(key, _)| key == HOSTNAME_LABEL) || matches!(terms, [term] if names_one(term))
}

fn names_one(term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.iter().flatten();
    let fields = term.match_fields.iter().flatten();
    let mut requirements = expressions
        .filter(|requirement| requirement.key == HOSTNAME_LABEL)
        .chain(fields.filter(|requirement| requirement.key == "metadata.name"));
    requirements.any(|requirement| {
        let values = requirement.values.as_deref().unwrap_or_default();
        requirement.operator == "In" && values.len() == 1
    })
}

fn of_data(mode: Mode, threshold: u64, data: &[Known]) -> Option<Pass> {
    let (mut total, mut held, mut failed) = (0u64, false, false);
    for known in data {
        match known {
            Known::NotScannedYet => return None,
            Known::Failed => failed = true,
            Known::Bytes { bytes, holders } => {
                total = total.saturating_add(*bytes);
                held |= *holders > 0;
            }
        }
    }
    if data.is_empty() {
        return Some(Pass::NoData);
    }
    // A pod that has to be near its data waits until they can be looked at again.
    if failed && mode == Mode::Required {
        return None;
    }
    if failed && total == 0 {
        return Some(Pass::NotKnown);
    }
    if total < threshold {
        let bytes = total;
        return Some(Pass::BelowThreshold { bytes, threshold });
    }
    (!held).then_some(Pass::OnNoNode)
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pass::NoData => write!(f, "the application names no data"),
            Pass::OnNode => write!(f, "the pod names its node"),
            Pass::OfDaemonSet => write!(f, "a DaemonSet sends the pod to its node"),
            Pass::Pinned => write!(f, "the pod's own selectors leave one node"),
            Pass::BelowThreshold { bytes, threshold } => write!(
                f,
                "its data have {}, less than locality.thresholdBytes, {}",
                Size(*bytes),
                Size(*threshold)
            ),
            Pass::OnNoNode => write!(f, "no node holds any of its data"),
            Pass::NotKnown => write!(f, "where its data are cannot be found out now"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::{Value, json};

    use super::*;

    const MUCH: Known = Known::Bytes {
        bytes: 1 << 30,
        holders: 2,
    };

    fn pod(spec: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "risk-0"}, "spec": spec})).unwrap()
    }

    fn decided(spec: Value, mode: Mode, data: &[Known]) -> Gate {
        let mut spec = spec;
        spec["containers"] = json!([]);
        gate(&pod(spec), mode, 1024, data)
    }

    #[test]
    fn a_pod_with_data_on_nodes_waits() {
        assert_eq!(decided(json!({}), Mode::Preferred, &[MUCH]), Gate::Wait);
    }

    #[test]
    fn a_dataset_that_was_not_scanned_yet_is_worth_the_wait() {
        let data = [Known::NotScannedYet, Known::Failed];
        assert_eq!(decided(json!({}), Mode::Preferred, &data), Gate::Wait);
    }

    #[test]
    fn a_gate_that_buys_nothing_is_not_there() {
        let few = Known::Bytes {
            bytes: 1023,
            holders: 1,
        };
        let nowhere = Known::Bytes {
            bytes: 1 << 30,
            holders: 0,
        };
        let term = |requirement: Value| {
            json!({"affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [requirement],
                },
            }}})
        };
        let by_field = term(json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["node-1"]},
        ]}));
        let by_label = term(json!({"matchExpressions": [
            {"key": HOSTNAME_LABEL, "operator": "In", "values": ["node-1"]},
        ]}));
        let below = Pass::BelowThreshold {
            bytes: 1023,
            threshold: 1024,
        };
        for (spec, data, expected) in [
            (json!({}), &[][..], Pass::NoData),
            (json!({"nodeName": "node-1"}), &[MUCH], Pass::OnNode),
            (
                json!({"nodeSelector": {HOSTNAME_LABEL: "node-1"}}),
                &[MUCH],
                Pass::Pinned,
            ),
            (by_field, &[MUCH], Pass::Pinned),
            (by_label, &[MUCH], Pass::Pinned),
            (json!({}), &[few], below),
            (json!({}), &[nowhere], Pass::OnNoNode),
            (json!({}), &[Known::Failed], Pass::NotKnown),
        ] {
            let found = decided(spec.clone(), Mode::Preferred, data);
            assert_eq!(found, Gate::Pass(expected), "{spec}");
        }
    }

    #[test]
    fn a_pod_of_a_daemon_set_never_waits() {
        let mut pod = pod(json!({"containers": []}));
        pod.metadata.owner_references = Some(
            serde_json::from_value(json!([{
                "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "scan", "uid": "1",
                "controller": true,
            }]))
            .unwrap(),
        );
        let found = gate(&pod, Mode::Required, 1, &[MUCH]);
        assert_eq!(found, Gate::Pass(Pass::OfDaemonSet));
    }

    #[test]
    fn a_required_place_waits_for_data_that_cannot_be_looked_at() {
        assert_eq!(
            decided(json!({}), Mode::Required, &[Known::Failed]),
            Gate::Wait
        );
    }

    #[test]
    fn several_names_in_one_term_leave_a_choice() {
        let spec = json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
                {"matchExpressions": [
                    {"key": HOSTNAME_LABEL, "operator": "In", "values": ["node-1", "node-2"]},
                ]},
            ]},
        }}});
        assert_eq!(decided(spec, Mode::Preferred, &[MUCH]), Gate::Wait);
    }
}
