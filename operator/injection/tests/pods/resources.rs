//! The pod's quality-of-service class never falls.

use outrigger_injection::{NamespaceRules, QosClass, qos_class};
use serde_json::{Value, json};

use crate::fixtures::{injected, injected_under, orders, orders_with, pod, web};

fn with_resources(resources: Value) -> Value {
    let mut pod = web();
    pod["spec"]["containers"][0]["resources"] = resources;
    pod
}

fn class(value: &Value) -> QosClass {
    qos_class(pod(value).spec.as_ref().unwrap())
}

fn both(cpu: &str, memory: &str) -> Value {
    json!({"cpu": cpu, "memory": memory})
}

#[test]
fn a_guaranteed_pod_stays_guaranteed() {
    let pod = with_resources(json!({"requests": both("1", "1Gi"), "limits": both("1", "1Gi")}));
    let injected = injected(&pod, &orders()).unwrap();
    assert_eq!(class(&pod), QosClass::Guaranteed);
    assert_eq!(class(&injected), QosClass::Guaranteed);
    assert_eq!(
        injected["spec"]["initContainers"][0]["resources"],
        json!({"requests": both("100m", "128Mi"), "limits": both("100m", "128Mi")})
    );
}

#[test]
fn a_guaranteed_pod_stays_so_whatever_the_sidecar_asks_for() {
    let pod = with_resources(json!({"requests": both("1", "1Gi"), "limits": both("1", "1Gi")}));
    for wanted in [
        json!({"requests": {"cpu": "20m"}}),
        json!({"requests": {"cpu": "20m"}, "limits": {"cpu": "1"}}),
        json!({"requests": both("0", "0"), "limits": both("0", "0")}),
    ] {
        let injected = injected(&pod, &orders_with(json!({"resources": wanted}), json!({})));
        assert_eq!(class(&injected.unwrap()), QosClass::Guaranteed, "{wanted}");
    }
}

#[test]
fn a_guaranteed_primary_beside_a_lesser_init_container_is_treated_as_the_burstable_pod_it_is_in() {
    let mut pod = with_resources(json!({"limits": both("1", "1Gi")}));
    pod["spec"]["initContainers"] = json!([{"name": "migrate"}]);
    let injected = injected(&pod, &orders()).unwrap();
    assert_eq!(class(&pod), QosClass::Burstable);
    assert_eq!(class(&injected), QosClass::Burstable);
    let slot = &injected["spec"]["initContainers"][0]["resources"];
    assert_eq!(slot["requests"], both("10m", "32Mi"));
}

#[test]
fn a_burstable_pod_stays_burstable() {
    let pod = with_resources(json!({"requests": both("1", "1Gi")}));
    assert_eq!(
        class(&injected(&pod, &orders()).unwrap()),
        QosClass::Burstable
    );
}

#[test]
fn a_best_effort_pod_becomes_burstable() {
    let pod = web();
    assert_eq!(class(&pod), QosClass::BestEffort);
    assert_eq!(
        class(&injected(&pod, &orders()).unwrap()),
        QosClass::Burstable
    );
}

#[test]
fn slots_in_a_pod_with_its_own_resources_carry_none() {
    let mut pod = web();
    pod["spec"]["resources"] = json!({"requests": both("1", "1Gi"), "limits": both("1", "1Gi")});
    let plan = orders_with(json!({"resources": {"requests": {"cpu": "1"}}}), json!({}));
    let injected = injected(&pod, &plan).unwrap();
    for slot in injected["spec"]["initContainers"].as_array().unwrap() {
        assert_eq!(slot["resources"], Value::Null);
    }
    assert_eq!(class(&injected), QosClass::Guaranteed);
}

#[test]
fn a_quota_on_cpu_limits_gives_slots_one() {
    let rules = NamespaceRules {
        cpu_limit_required: true,
        ..NamespaceRules::default()
    };
    let pod = with_resources(json!({"limits": both("2", "1Gi"), "requests": both("1", "1Gi")}));
    let injected = injected_under(&pod, &orders(), &rules).unwrap();
    let slot = &injected["spec"]["initContainers"][1]["resources"];
    assert_eq!(slot["limits"], both("500m", "128Mi"));
}
