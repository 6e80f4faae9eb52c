//! What of a pod never changes: all of its spec but images, and what narrows its place down, which
//! has rules of its own.

use std::collections::BTreeSet;

use serde_json::Value;

/// Fields of a spec that may change, or that other rules are about.
const MUTABLE: [&str; 8] = [
    "activeDeadlineSeconds",
    "affinity",
    "containers",
    "initContainers",
    "nodeName",
    "nodeSelector",
    "schedulingGates",
    "tolerations",
];

/// Whether the API server takes a change of a pod's spec, its place apart.
pub(crate) fn allow(before: &Value, after: &Value) -> bool {
    let (before, after) = (&before["spec"], &after["spec"]);
    let is_same = |name: &&str| MUTABLE.contains(name) || before[name] == after[name];
    names(before, after).iter().all(is_same)
        && ["containers", "initContainers"]
            .iter()
            .all(|list| differ_in_images(&before[list], &after[list]))
}

fn differ_in_images(before: &Value, after: &Value) -> bool {
    let (before, after) = (before.as_array(), after.as_array());
    let (before, after) = (before.into_iter().flatten(), after.into_iter().flatten());
    let (before, after): (Vec<_>, Vec<_>) = (before.collect(), after.collect());
    before.len() == after.len()
        && before.into_iter().zip(after).all(|(before, after)| {
            let is_same = |name: &&str| *name == "image" || before[name] == after[name];
            names(before, after).iter().all(is_same)
        })
}

fn names<'a>(one: &'a Value, other: &'a Value) -> BTreeSet<&'a str> {
    let fields = [one, other].into_iter().filter_map(Value::as_object);
    fields
        .flat_map(|fields| fields.keys().map(String::as_str))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_change_and_nothing_else() {
        let pod = |image: &str, env: &str, more: bool| {
            let mut containers = vec![json!({"name": "web", "image": image, "env": [env]})];
            containers.extend(more.then(|| json!({"name": "more", "image": image})));
            json!({"spec": {"containers": containers}})
        };
        let before = pod("web:1", "a", false);
        assert!(allow(&before, &pod("web:2", "a", false)));
        assert!(!allow(&before, &pod("web:1", "b", false)));
        assert!(!allow(&before, &pod("web:1", "a", true)));
        let mut hosted = before.clone();
        hosted["spec"]["hostNetwork"] = true.into();
        assert!(!allow(&before, &hosted));
    }
}
