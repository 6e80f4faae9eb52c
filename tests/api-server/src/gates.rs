//! What may change in the place that a pod asks for: nothing, except while scheduling gates hold it
//! back, and then only what narrows it down.

use serde_json::Value;

/// Whether the API server takes a change of a pod, as far as its gates and its affinity go.
pub(crate) fn allow(before: &Value, after: &Value) -> bool {
    let (before, after) = (&before["spec"], &after["spec"]);
    let gates = list(&before["schedulingGates"]);
    let kept = list(&after["schedulingGates"]);
    let is_gated = !gates.is_empty();
    kept.iter().all(|gate| gates.contains(gate))
        && before["nodeName"] == after["nodeName"]
        && without_node_affinity(before) == without_node_affinity(after)
        && (before["affinity"]["nodeAffinity"] == after["affinity"]["nodeAffinity"]
            || is_gated && is_narrower(terms(before), terms(after)))
        && (before["nodeSelector"] == after["nodeSelector"]
            || is_gated && contains(&after["nodeSelector"], &before["nodeSelector"]))
}

/// Required terms may be added where there are none. Otherwise each one may only grow.
fn is_narrower(before: &Value, after: &Value) -> bool {
    if before.is_null() {
        return true;
    }
    let (before, after) = (list(before), list(after));
    before.len() == after.len()
        && before.iter().zip(after).all(|(before, after)| {
            ["matchExpressions", "matchFields"].iter().all(|part| {
                let after = list(&after[part]);
                list(&before[part]).iter().all(|old| after.contains(old))
            })
        })
}

fn terms(spec: &Value) -> &Value {
    &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
}

fn without_node_affinity(spec: &Value) -> (&Value, &Value) {
    let affinity = &spec["affinity"];
    (&affinity["podAffinity"], &affinity["podAntiAffinity"])
}

fn contains(after: &Value, before: &Value) -> bool {
    let fields = before.as_object();
    fields
        .into_iter()
        .flatten()
        .all(|(key, value)| after[key] == *value)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(gates: &[&str], terms: Value) -> Value {
        let gates: Vec<_> = gates.iter().map(|name| json!({"name": name})).collect();
        let mut pod = json!({"spec": {"schedulingGates": gates}});
        if !terms.is_null() {
            pod["spec"]["affinity"]["nodeAffinity"] = json!({
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
            });
        }
        pod
    }

    #[test]
    fn gates_go_and_do_not_come() {
        let (both, one, none) = (["a", "b"], ["b"], []);
        let with = |gates| pod(gates, Value::Null);
        assert!(allow(&with(&both), &with(&one)));
        assert!(allow(&with(&one), &with(&none)));
        assert!(!allow(&with(&one), &with(&both)));
        assert!(!allow(&with(&none), &with(&one)));
    }

    #[test]
    fn only_gated_pods_are_narrowed_and_none_is_widened() {
        let zone = json!({"key": "zone", "operator": "In", "values": ["z"]});
        let name = json!({"key": "metadata.name", "operator": "In", "values": ["n"]});
        let (wide, narrow) = (
            json!([{"matchExpressions": [zone]}]),
            json!([{"matchExpressions": [zone], "matchFields": [name]}]),
        );
        assert!(allow(&pod(&["g"], wide.clone()), &pod(&[], narrow.clone())));
        assert!(allow(&pod(&["g"], Value::Null), &pod(&[], narrow.clone())));
        assert!(!allow(&pod(&[], wide.clone()), &pod(&[], narrow.clone())));
        assert!(!allow(&pod(&["g"], narrow.clone()), &pod(&[], wide)));
        assert!(!allow(&pod(&["g"], narrow), &pod(&[], Value::Null)));
    }
}
