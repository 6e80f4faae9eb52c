//! Pods that are to wait for a node near their data.

use outrigger_injection::{NamespaceRules, Settings, disown, inject};
use serde_json::{Value, json};

use crate::fixtures::{gated, injected, orders, plan_of, pod, web};

const GATE: &str = "outrigger.dev/placement";

fn gates(pod: &Value) -> Vec<&str> {
    let gates = pod["spec"]["schedulingGates"].as_array();
    let names = gates.into_iter().flatten().map(|gate| &gate["name"]);
    names.map(|name| name.as_str().unwrap()).collect()
}

#[test]
fn the_gate_comes_once_and_after_those_of_others() {
    let mut web = web();
    web["spec"]["schedulingGates"] = json!([{"name": "example.com/quota"}]);
    let once = gated(&web, &orders());
    assert_eq!(gates(&once), ["example.com/quota", GATE]);
    let rules = NamespaceRules::default();
    let settings = Settings::default();
    let again = inject(&pod(&once), &orders(), &settings, &rules, true).unwrap();
    assert!(again.is_empty(), "{again}");
}

#[test]
fn an_application_without_sidecars_gives_its_pods_label_and_gate_alone() {
    let found = gated(&web(), &plan_of(json!([]), &[]));
    let mut expected = web();
    expected["metadata"]["labels"]["outrigger.dev/app"] = "shop".into();
    expected["spec"]["schedulingGates"] = json!([{"name": GATE}]);
    assert_eq!(found, expected);
}

#[test]
fn a_gate_that_buys_nothing_is_taken_away_again() {
    let once = gated(&web(), &orders());
    assert_eq!(gates(&injected(&once, &orders()).unwrap()), [""; 0]);
}

#[test]
fn a_pod_of_no_application_does_not_wait_for_one() {
    let mut web = web();
    web["spec"]["schedulingGates"] = json!([{"name": GATE}, {"name": "example.com/quota"}]);
    let patch = disown(&pod(&web));
    json_patch::patch(&mut web, &patch).unwrap();
    assert_eq!(gates(&web), ["example.com/quota"]);
}

#[test]
fn whoever_creates_a_pod_does_not_say_how_it_was_placed() {
    let mut web = web();
    web["metadata"]["annotations"] = json!({"outrigger.dev/placement": "{}"});
    let found = gated(&web, &plan_of(json!([]), &[]));
    assert_eq!(found["metadata"]["annotations"], json!({}));
}
