//! Pods of applications whose sidecar runs elsewhere.

use outrigger_injection::{Resident, Settings, requires_recreate};
use outrigger_plan::ApplicationPlan;
use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, pod, web};

const ADDRESS: &str = "http://outrigger-orders.store.svc:15000";

fn shared() -> ApplicationPlan {
    orders_with(json!({"sharing": "Namespace"}), json!({}))
}

fn fields(value: &Value, plan: &ApplicationPlan) -> Vec<String> {
    requires_recreate(&pod(value), plan, &Settings::default())
}

#[test]
fn a_pod_gets_the_address_and_the_label_and_nothing_else() {
    let mut expected = web();
    expected["metadata"]["labels"]["outrigger.dev/app"] = "shop".into();
    expected["spec"]["containers"][0]["env"] = json!([
        {"name": "OUTRIGGER_ONCE_URL", "value": ADDRESS},
        {"name": "MODE", "value": "fast"},
    ]);
    let found = injected(&web(), &shared()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(injected(&found, &shared()).unwrap(), found);
    assert_eq!(fields(&found, &shared()), Vec::<String>::new());
}

#[test]
fn nothing_of_it_resides_in_the_pods_of_the_application() {
    let plan = shared();
    assert!(Resident::of(&plan, &plan.sidecars[0]).is_none());
}

#[test]
fn its_pull_secrets_and_its_resources_are_not_the_applications_concern() {
    let plan = orders_with(
        json!({
            "sharing": "Node",
            "imagePullSecrets": [{"name": "pull"}],
            "resources": {"requests": {"cpu": "1"}},
        }),
        json!({}),
    );
    let found = injected(&web(), &plan).unwrap();
    assert_eq!(found["spec"]["imagePullSecrets"], Value::Null);
    assert_eq!(found["metadata"]["annotations"], Value::Null);
}

#[test]
fn a_container_may_listen_on_the_port_and_have_the_name_of_a_slot() {
    let mut value = web();
    value["spec"]["containers"][0]["name"] = "orders-a".into();
    value["spec"]["containers"][0]["ports"] = json!([{"containerPort": 15000}]);
    assert!(injected(&value, &shared()).is_ok());
}

#[test]
fn a_pod_without_an_address_of_its_own_is_refused() {
    let mut value = web();
    value["spec"]["hostNetwork"] = true.into();
    assert_eq!(
        injected(&value, &shared()).unwrap_err().to_string(),
        "pod web-5d8-* spec.hostNetwork is true; IntegrationSidecar orders is shared and tells applications apart by the addresses of their pods, so it must be false or absent"
    );
}

#[test]
fn a_pod_on_windows_can_call_it() {
    let mut value = web();
    value["spec"]["os"] = json!({"name": "windows"});
    assert!(injected(&value, &shared()).is_ok());
}

#[test]
fn a_running_pod_with_slots_from_before_names_what_it_cannot_put_off() {
    let live = injected(&web(), &orders()).unwrap();
    assert_eq!(
        fields(&live, &shared()),
        [
            "spec.containers[web].env[OUTRIGGER_ONCE_URL]",
            "spec.initContainers[orders-a]",
            "spec.initContainers[orders-b]",
        ]
    );
}

#[test]
fn a_running_pod_from_before_slots_names_what_it_cannot_put_on() {
    let live = injected(&web(), &shared()).unwrap();
    assert_eq!(
        fields(&live, &orders()),
        [
            "spec.containers[web].env[OUTRIGGER_ONCE_URL]",
            "spec.initContainers[orders-a]",
            "spec.initContainers[orders-b]",
        ]
    );
}

#[test]
fn a_copy_of_a_pod_follows_the_form_that_the_sidecar_has_now() {
    let with_slots = injected(&web(), &orders()).unwrap();
    let without = injected(&web(), &shared()).unwrap();
    let mut emptied = injected(&with_slots, &shared()).unwrap();
    for list in ["initContainers", "volumes"] {
        let left = emptied["spec"].as_object_mut().unwrap().remove(list);
        assert!(
            left.as_ref().is_none_or(|left| {
                let names = left.as_array().unwrap().iter().map(|item| &item["name"]);
                names.eq(["outrigger-no-token"].iter().filter(|_| list == "volumes"))
            }),
            "{left:?}"
        );
    }
    emptied["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    assert_eq!(emptied, without);
    assert_eq!(injected(&without, &orders()).unwrap(), with_slots);
}
