#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::AskedFor;

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

fn explanation() -> Explanation {
    Explanation {
        v: 1,
        node: None,
        mode: AskedFor::None,
        local_bytes: 0,
        total_bytes: 0,
        runner_up: None,
        excluded: BTreeMap::new(),
        reason: "because".to_owned(),
        since: Timestamp::UNIX_EPOCH,
    }
}

fn pod(node_affinity: Value) -> Value {
    json!({
        "metadata": {"name": "risk-0", "uid": "1"},
        "spec": {
            "affinity": {"nodeAffinity": node_affinity},
            "schedulingGates": [{"name": PLACEMENT_GATE}],
            "containers": [],
        },
    })
}

fn released(pod: &Value, target: &Target) -> Value {
    let read: Pod = serde_json::from_value(pod.clone()).unwrap();
    let patch = release(&read, target, &explanation()).unwrap();
    let mut patched = pod.clone();
    json_patch::patch(&mut patched, &patch).unwrap();
    patched
}

fn named(node: &str) -> Value {
    json!({"key": "metadata.name", "operator": "In", "values": [node]})
}

fn required_node() -> Target {
    Target::Required("node-1".to_owned())
}

#[test]
fn a_required_node_is_put_into_every_term_of_the_user() {
    let expression = json!({"key": "disk", "operator": "Exists"});
    let pod = pod(json!({REQUIRED: {"nodeSelectorTerms": [
        {"matchExpressions": [expression]},
        {"matchFields": [named("node-1")]},
        {},
    ]}}));
    assert_eq!(
        released(&pod, &required_node())["spec"]["affinity"]["nodeAffinity"],
        json!({REQUIRED: {"nodeSelectorTerms": [
            {"matchExpressions": [expression], "matchFields": [named("node-1")]},
            {"matchFields": [named("node-1")]},
            {},
        ]}})
    );
}

#[test]
fn preferences_come_after_those_of_the_user() {
    let own = json!({"weight": 7, "preference": {"matchFields": [named("node-9")]}});
    let pod = pod(json!({PREFERRED: [own]}));
    let target = Target::Preferred(vec![("node-1".to_owned(), 100), ("node-2".to_owned(), 50)]);
    assert_eq!(
        released(&pod, &target)["spec"]["affinity"]["nodeAffinity"][PREFERRED],
        json!([
            own,
            {"weight": 100, "preference": {"matchFields": [named("node-1")]}},
            {"weight": 50, "preference": {"matchFields": [named("node-2")]}},
        ])
    );
}

#[test]
fn a_patch_is_for_one_pod_and_for_one_time() {
    let first = pod(json!({}));
    let read: Pod = serde_json::from_value(first.clone()).unwrap();
    let patch = release(&read, &required_node(), &explanation()).unwrap();
    let mut second_time = released(&first, &required_node());
    assert!(json_patch::patch(&mut second_time, &patch).is_err());
    let mut namesake = first;
    namesake["metadata"]["uid"] = "2".into();
    assert!(json_patch::patch(&mut namesake, &patch).is_err());
}

#[test]
fn opening_the_gate_changes_nothing_else() {
    let gated = pod(json!({PREFERRED: []}));
    let read: Pod = serde_json::from_value(gated.clone()).unwrap();
    let mut opened = gated.clone();
    json_patch::patch(&mut opened, &open(&read).unwrap()).unwrap();
    let mut expected = gated;
    expected["spec"]["schedulingGates"] = json!([]);
    assert_eq!(opened, expected);
    let read: Pod = serde_json::from_value(opened).unwrap();
    assert_eq!(open(&read), None);
}

#[test]
fn gates_of_others_stay_in_their_order() {
    let ours = json!({"name": "outrigger.dev/placement"});
    let (quota, volume) = (json!({"name": "quota"}), json!({"name": "volume"}));
    let mut gated = pod(json!({}));
    gated["spec"]["schedulingGates"] = json!([quota, ours, volume]);
    let read: Pod = serde_json::from_value(gated.clone()).unwrap();
    let opening = open(&read).unwrap();
    let mut opened = gated.clone();
    json_patch::patch(&mut opened, &opening).unwrap();
    assert_eq!(opened["spec"]["schedulingGates"], json!([quota, volume]));
    // One whose gates have changed since is left alone.
    gated["spec"]["schedulingGates"] = json!([ours, volume]);
    let changed = gated.clone();
    json_patch::patch(&mut gated, &opening).unwrap_err();
    assert_eq!(gated, changed);
}

/// Node affinity as users write it, with what the API server keeps: no empty lists.
fn affinities() -> impl Strategy<Value = Value> {
    let expression = prop::sample::select(vec![
        json!({"key": "disk", "operator": "In", "values": ["ssd"]}),
        json!({"key": "zone", "operator": "Exists"}),
        json!({"key": "cores", "operator": "Gt", "values": ["8"]}),
    ]);
    let field = prop::sample::select(vec![named("node-1"), named("node-2")]);
    let term = (
        prop::collection::vec(expression, 0..3),
        prop::collection::vec(field, 0..2),
    );
    let term = term.prop_map(|(expressions, fields)| {
        let mut term = json!({});
        for (key, list) in [("matchExpressions", expressions), ("matchFields", fields)] {
            if !list.is_empty() {
                term[key] = list.into();
            }
        }
        term
    });
    let preference = term
        .clone()
        .prop_map(|term| json!({"weight": 1, "preference": term}));
    let lists = (
        prop::collection::vec(term, 0..4),
        prop::collection::vec(preference, 0..3),
    );
    lists.prop_map(|(terms, preferences)| {
        let mut affinity = json!({});
        if !terms.is_empty() {
            affinity[REQUIRED] = json!({"nodeSelectorTerms": terms});
        }
        if !preferences.is_empty() {
            affinity[PREFERRED] = preferences.into();
        }
        affinity
    })
}

fn pods() -> impl Strategy<Value = Value> {
    let gates = Just(vec!["a.example/x", PLACEMENT_GATE, "b.example/y"]).prop_shuffle();
    (affinities(), 0..3u8, gates, any::<bool>()).prop_map(|(affinity, depth, gates, annotated)| {
        let mut pod = pod(affinity);
        match depth {
            0 => drop(pod["spec"].as_object_mut().unwrap().remove("affinity")),
            1 => pod["spec"]["affinity"] = json!({"podAffinity": {}}),
            _ => {}
        }
        let gates = gates.into_iter().map(|name| json!({"name": name}));
        pod["spec"]["schedulingGates"] = gates.collect();
        if annotated {
            pod["metadata"]["annotations"] = json!({"own": "1"});
        }
        pod
    })
}

fn targets() -> impl Strategy<Value = Target> {
    let weights = prop::collection::vec(("node-[1-4]", 1..=100u8), 1..5);
    prop_oneof![
        "node-[1-4]".prop_map(Target::Required),
        weights.prop_map(Target::Preferred),
        Just(Target::Anywhere),
    ]
}

fn list<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// What the API server asks of a change of required terms while a pod is gated: those that are
/// there stay, in their order, with requirements added at their ends only, and to none that is
/// empty.
fn only_tightened(before: &[Value], after: &[Value]) -> bool {
    let kept = |(old, new): (&Value, &Value)| {
        let starts = |path| list(new, path).starts_with(list(old, path));
        let empty = old.as_object().is_some_and(serde_json::Map::is_empty);
        starts("/matchExpressions") && starts("/matchFields") && (!empty || old == new)
    };
    before.is_empty() || (before.len() == after.len() && before.iter().zip(after).all(kept))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_users_own_terms_are_neither_added_to_nor_dropped_nor_loosened(
        pod in pods(),
        target in targets(),
    ) {
        let required = format!("/spec/affinity/nodeAffinity/{REQUIRED}/nodeSelectorTerms");
        let preferred = format!("/spec/affinity/nodeAffinity/{PREFERRED}");
        let after = released(&pod, &target);
        let (old, new) = (list(&pod, &required), list(&after, &required));
        prop_assert!(only_tightened(old, new), "{new:?}");
        match &target {
            Target::Required(node) => {
                prop_assert!(!new.is_empty());
                for term in new.iter().filter(|term| **term != json!({})) {
                    prop_assert!(list(term, "/matchFields").contains(&named(node)));
                }
            }
            Target::Preferred(_) | Target::Anywhere => prop_assert_eq!(old, new),
        }
        let (old, new) = (list(&pod, &preferred), list(&after, &preferred));
        prop_assert!(new.starts_with(old));
        let added = match &target {
            Target::Preferred(weights) => weights.len(),
            Target::Required(_) | Target::Anywhere => 0,
        };
        prop_assert_eq!(new.len() - old.len(), added);
    }

    #[test]
    fn nothing_but_affinity_annotation_and_our_gate_changes(pod in pods(), target in targets()) {
        let mut after = released(&pod, &target);
        let gates = after["spec"]["schedulingGates"].take();
        let others = list(&pod, "/spec/schedulingGates").iter();
        let others: Vec<_> = others.filter(|gate| gate["name"] != PLACEMENT_GATE).cloned().collect();
        prop_assert_eq!(gates, Value::from(others));
        let own = after["metadata"]["annotations"].take();
        prop_assert!(own[PLACEMENT_ANNOTATION].is_string());
        prop_assert_eq!(&own["own"], &pod["metadata"]["annotations"]["own"]);
        let mut before = pod;
        before["spec"]["schedulingGates"] = Value::Null;
        before["metadata"]["annotations"] = Value::Null;
        for pod in [&mut before, &mut after] {
            let spec = pod["spec"].as_object_mut().unwrap();
            if let Some(affinity) = spec.get_mut("affinity").and_then(Value::as_object_mut) {
                affinity.remove("nodeAffinity");
                if affinity.is_empty() {
                    spec.remove("affinity");
                }
            }
        }
        prop_assert_eq!(before, after);
    }
}
