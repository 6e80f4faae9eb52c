use std::collections::BTreeMap;

use json_patch::jsonptr::PointerBuf;
use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, TestOperation};
use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorTerm, Pod};
use outrigger_control::layout::{PLACEMENT_ANNOTATION, PLACEMENT_GATE};
use serde_json::{Value, json};

use crate::{Explanation, selector};

/// Where a pod is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To one node or nowhere.
    Required(String),
    /// To the nodes by weight, 1 to 100, or elsewhere.
    Preferred(Vec<(String, u8)>),
    /// Wherever the scheduler likes.
    Anywhere,
}

/// The one patch that writes where a pod is sent and why, and removes our gate; `None` if the pod
/// does not have it.
///
/// It says what is added and nothing else, so the user's own terms stay as they are, and is refused
/// by another pod of the name and by one without the gate. It keeps to what the API server allows
/// while a pod is gated: preferred terms may come, required terms may neither come nor go once
/// there are some, and may get more requirements at their ends.
pub(crate) fn release(pod: &Pod, target: &Target, explanation: &Explanation) -> Option<Patch> {
    let mut changes = Changes::for_pod(pod)?;
    let affinity = changes.affinity(pod);
    match target {
        Target::Required(node) => require(&mut changes, &affinity, node),
        Target::Preferred(weights) => prefer(&mut changes, &affinity, weights),
        Target::Anywhere => {}
    }
    let text = json!(explanation).to_string();
    if pod.metadata.annotations.is_some() {
        changes.add(
            &["metadata", "annotations", PLACEMENT_ANNOTATION],
            json!(text),
        );
    } else {
        let annotations = BTreeMap::from([(PLACEMENT_ANNOTATION, text)]);
        changes.add(&["metadata", "annotations"], json!(annotations));
    }
    Some(changes.open())
}

/// The patch that removes our gate from a pod and does nothing else; `None` if the pod does not
/// have it.
pub fn open(pod: &Pod) -> Option<Patch> {
    Changes::for_pod(pod).map(Changes::open)
}

/// Whether a pod waits behind our gate.
pub fn is_gated(pod: &Pod) -> bool {
    gate_position(pod).is_some()
}

fn gate_position(pod: &Pod) -> Option<usize> {
    let gates = pod.spec.as_ref()?.scheduling_gates.as_ref()?;
    gates.iter().position(|gate| gate.name == PLACEMENT_GATE)
}

fn require(changes: &mut Changes, affinity: &Affinity<'_>, node: &str) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
    let Some(found) = affinity.found else {
        let term = json!({"matchFields": [field]});
        let required = json!({"nodeSelectorTerms": [term]});
        return affinity.create(changes, json!({REQUIRED: required}));
    };
    let terms = found
        .required_during_scheduling_ignored_during_execution
        .as_ref();
    let Some(terms) = terms.map(|required| &required.node_selector_terms) else {
        let term = json!({"matchFields": [field]});
        let required = json!({"nodeSelectorTerms": [term]});
        return changes.add(&[&AFFINITY[..], &[REQUIRED]].concat(), required);
    };
    // A term without requirements matches nothing; with one it would match something.
    let matching = terms
        .iter()
        .enumerate()
        .filter(|(_, term)| !selector::is_empty(term));
    for (index, term) in matching {
        let index = index.to_string();
        let term_path = [REQUIRED, "nodeSelectorTerms", &index, "matchFields"];
        let path = [&AFFINITY[..], &term_path].concat();
        match term.match_fields.as_deref().unwrap_or_default() {
            [] => changes.add(&path, json!([field])),
            _ if names(term, node) => {}
            _ => changes.add(&[&path[..], &["-"]].concat(), field.clone()),
        }
    }
}

/// Whether a term asks for the node by name already.
fn names(term: &NodeSelectorTerm, node: &str) -> bool {
    term.match_fields.iter().flatten().any(|field| {
        field.key == "metadata.name"
            && field.operator == "In"
            && field.values.as_deref() == Some(&[node.to_owned()])
    })
}

fn prefer(changes: &mut Changes, affinity: &Affinity<'_>, weights: &[(String, u8)]) {
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    let terms: Vec<_> = weights
        .iter()
        .map(|(node, weight)| {
            let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
            json!({"weight": weight, "preference": {"matchFields": [field]}})
        })
        .collect();
    let Some(found) = affinity.found else {
        return affinity.create(changes, json!({PREFERRED: terms}));
    };
    let path = [&AFFINITY[..], &[PREFERRED]].concat();
    let present = found
        .preferred_during_scheduling_ignored_during_execution
        .as_deref();
    if present.unwrap_or_default().is_empty() {
        return changes.add(&path, json!(terms));
    }
    for term in terms {
        changes.add(&[&path[..], &["-"]].concat(), term);
    }
}

const AFFINITY: [&str; 3] = ["spec", "affinity", "nodeAffinity"];

/// The node affinity of a pod, and whether there is any affinity.
struct Affinity<'a> {
    found: Option<&'a NodeAffinity>,
    any: bool,
}

impl Affinity<'_> {
    fn create(&self, changes: &mut Changes, node_affinity: Value) {
        if self.any {
            changes.add(&AFFINITY, node_affinity);
        } else {
            changes.add(&AFFINITY[..2], json!({"nodeAffinity": node_affinity}));
        }
    }
}

/// Collects the operations of a patch.
struct Changes {
    operations: Vec<PatchOperation>,
    /// Position of our gate.
    gate: String,
}

impl Changes {
    /// Starts with what makes the patch safe to repeat.
    fn for_pod(pod: &Pod) -> Option<Changes> {
        let mut changes = Changes {
            operations: Vec::new(),
            gate: gate_position(pod)?.to_string(),
        };
        let gate = changes.gate.clone();
        changes.test(&["metadata", "uid"], json!(pod.metadata.uid));
        changes.test(
            &["spec", "schedulingGates", &gate, "name"],
            json!(PLACEMENT_GATE),
        );
        Some(changes)
    }

    fn affinity<'a>(&self, pod: &'a Pod) -> Affinity<'a> {
        let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
        Affinity {
            found: affinity.and_then(|affinity| affinity.node_affinity.as_ref()),
            any: affinity.is_some(),
        }
    }

    fn test(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.operations
            .push(PatchOperation::Test(TestOperation { path, value }));
    }

    fn add(&mut self, path: &[&str], value: Value) {
        let path = PointerBuf::from_tokens(path.iter().copied());
        self.operations
            .push(PatchOperation::Add(AddOperation { path, value }));
    }

    /// Ends with what removes the gate.
    fn open(mut self) -> Patch {
        let path = PointerBuf::from_tokens(["spec", "schedulingGates", &self.gate]);
        self.operations
            .push(PatchOperation::Remove(RemoveOperation { path }));
        Patch(self.operations)
    }
}

#[cfg(test)]
mod tests;
