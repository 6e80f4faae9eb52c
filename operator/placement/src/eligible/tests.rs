#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use serde_json::{Value, json};

use super::*;

fn node(spec: Value, ready: &str) -> Node {
    let node = json!({
        "metadata": {"name": "node-1", "labels": {"disk": "hdd"}},
        "spec": spec,
        "status": {
            "allocatable": {"cpu": "2", "memory": "1Gi", "pods": "1"},
            "conditions": [{"type": "Ready", "status": ready}],
        },
    });
    Node::new(&serde_json::from_value(node).unwrap(), [])
}

fn pod(spec: Value) -> Pod {
    let mut spec = spec;
    if spec["containers"].is_null() {
        spec["containers"] = json!([]);
    }
    serde_json::from_value(json!({"metadata": {"name": "risk-0"}, "spec": spec})).unwrap()
}

fn ruled_out(pod_spec: Value, node_spec: Value) -> Option<String> {
    let pod = pod(pod_spec);
    let (needs, node) = (Needs::of(&pod, &[]), node(node_spec, "True"));
    let excluded = needs.rules_out(&node);
    assert_eq!(needs.allows(&node), excluded.is_none());
    excluded.map(|excluded| excluded.to_string())
}

#[test]
fn a_taint_keeps_a_pod_away_unless_it_is_tolerated() {
    let taint =
        |effect: &str| json!({"taints": [{"key": "dedicated", "value": "db", "effect": effect}]});
    for (toleration, tolerated) in [
        (json!({"key": "dedicated", "value": "db"}), true),
        (
            json!({"key": "dedicated", "operator": "Equal", "value": "db"}),
            true,
        ),
        (
            json!({"key": "dedicated", "operator": "Equal", "value": "web"}),
            false,
        ),
        (json!({"key": "dedicated"}), false),
        (json!({"key": "dedicated", "operator": "Exists"}), true),
        (json!({"key": "other", "operator": "Exists"}), false),
        (json!({"operator": "Exists"}), true),
        (json!({"key": "", "operator": "Exists", "effect": ""}), true),
        (json!({"operator": "Exists", "effect": "NoExecute"}), false),
        (json!({"operator": "Exists", "effect": "NoSchedule"}), true),
        (json!({"key": "dedicated", "operator": "Matches"}), false),
    ] {
        let spec = json!({"tolerations": [toleration]});
        let found = ruled_out(spec.clone(), taint("NoSchedule"));
        assert_eq!(found.is_none(), tolerated, "{spec}");
    }
    assert_eq!(
        ruled_out(json!({}), taint("NoExecute")).unwrap(),
        "the pod does not tolerate its taint dedicated=db:NoExecute"
    );
    assert_eq!(ruled_out(json!({}), taint("PreferNoSchedule")), None);
}

#[test]
fn a_cordon_is_a_taint_that_can_be_tolerated() {
    let cordoned = json!({"unschedulable": true});
    assert_eq!(ruled_out(json!({}), cordoned.clone()).unwrap(), "cordoned");
    let tolerating = json!({"tolerations": [
        {"key": "node.kubernetes.io/unschedulable", "operator": "Exists"},
    ]});
    assert_eq!(ruled_out(tolerating, cordoned), None);
}

#[test]
fn a_node_that_is_not_ready_runs_nothing() {
    let pod = pod(json!({"tolerations": [{"operator": "Exists"}]}));
    for ready in ["False", "Unknown"] {
        let (needs, node) = (Needs::of(&pod, &[]), node(json!({}), ready));
        assert_eq!(needs.rules_out(&node), Some(Excluded::NotReady));
        assert!(!needs.allows(&node));
    }
}

#[test]
fn labels_that_the_pod_asks_for_are_named() {
    for (selector, expected) in [
        (
            "disk",
            "the pod's spec.nodeSelector asks for disk=ssd, it has disk=hdd",
        ),
        (
            "gpu",
            "the pod's spec.nodeSelector asks for gpu=ssd, it has no such label",
        ),
    ] {
        let spec = json!({"nodeSelector": {selector: "ssd"}});
        assert_eq!(ruled_out(spec, json!({})).unwrap(), expected);
    }
    let term =
        json!({"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["hdd"]}]});
    let spec = json!({"affinity": {"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
    }}});
    assert_eq!(
        ruled_out(spec, json!({})).unwrap(),
        "the pod's spec.affinity.nodeAffinity asks for disk NotIn [hdd]"
    );
}

#[test]
fn the_resource_that_is_short_is_named() {
    for (requests, expected) in [
        (
            json!({"cpu": "2500m"}),
            Some("no room: the pod asks for 2500m cpu, less is free"),
        ),
        (
            json!({"memory": "1536Mi"}),
            Some("no room: the pod asks for 1.5 GiB memory, less is free"),
        ),
        (
            json!({"example.org/gpu": "1"}),
            Some("no room: the pod asks for 1 example.org/gpu, less is free"),
        ),
        (json!({"cpu": "2", "memory": "1Gi"}), None),
    ] {
        let pod =
            pod(json!({"containers": [{"name": "app", "resources": {"requests": requests}}]}));
        let lacking = Needs::of(&pod, &[]).lacks_room(&node(json!({}), "True").free);
        let lacking = lacking.map(|lacking| lacking.to_string());
        assert_eq!(lacking.as_deref(), expected);
    }
}

#[test]
fn pods_that_have_ended_take_no_room() {
    let on = |phase: &str| {
        let pod = json!({
            "metadata": {"name": "a"},
            "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "1"}}}]},
            "status": {"phase": phase},
        });
        serde_json::from_value::<Pod>(pod).unwrap()
    };
    let pods = [on("Running"), on("Succeeded"), on("Failed")];
    let node = json!({
        "metadata": {"name": "node-1"},
        "status": {"allocatable": {"cpu": "3", "pods": "9"}},
    });
    let node = Node::new(&serde_json::from_value(node).unwrap(), &pods);
    assert_eq!(crate::node::slots(&node.free, &room(&pods[0])), 2);
    assert_eq!(crate::node::slots(&node.free, &room(&pod(json!({})))), 8);
}

#[test]
fn a_claim_allows_the_nodes_that_it_does_not_rule_out() {
    let terms = |value: &str| {
        let requirement = json!({"key": "disk", "operator": "In", "values": [value]});
        let terms = json!([{"matchExpressions": [requirement]}]);
        Some(serde_json::from_value::<Vec<NodeSelectorTerm>>(terms).unwrap())
    };
    let volume = |terms, recreated: &[&str]| {
        Place::Bound(crate::volume::Volume {
            name: "pv".to_owned(),
            bytes: 1,
            terms,
            recreated: recreated.iter().map(|name| (*name).to_owned()).collect(),
            attached: BTreeSet::new(),
        })
    };
    let class = |terms| Place::NotYetAnywhere {
        class: "local".to_owned(),
        terms,
    };
    let lost = Place::Lost {
        volume: "pv".to_owned(),
    };
    let (pod, node) = (pod(json!({})), node(json!({}), "True"));
    for (place, allowed) in [
        (volume(terms("hdd"), &[]), true),
        (volume(terms("ssd"), &[]), false),
        (volume(terms("hdd"), &["node-1"]), false),
        (volume(terms("hdd"), &["node-2"]), true),
        (class(terms("hdd")), true),
        (class(terms("ssd")), false),
        (class(None), true),
        (lost, false),
        (Place::Missing, true),
    ] {
        let claims = [Claim {
            name: "data".to_owned(),
            place,
        }];
        let needs = Needs::of(&pod, &claims);
        assert_eq!(needs.allows(&node), allowed, "{claims:?}");
        assert_eq!(needs.rules_out(&node).is_none(), allowed, "{claims:?}");
    }
}
