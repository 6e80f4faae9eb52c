use outrigger_injection::{Settings, requires_recreate};
use outrigger_plan::ApplicationPlan;
use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, plan_of, pod, sidecar, web};

fn fields(value: &Value, plan: &ApplicationPlan) -> Vec<String> {
    requires_recreate(&pod(value), plan, &Settings::default())
}

fn live() -> Value {
    injected(&web(), &orders()).unwrap()
}

#[test]
fn nothing_differs_in_a_pod_that_was_just_injected() {
    assert_eq!(fields(&live(), &orders()), Vec::<String>::new());
}

#[test]
fn images_and_configuration_change_in_place() {
    let mut pod = live();
    pod["spec"]["initContainers"][1]["image"] = "other".into();
    let parameters = json!({"parameters": [
        {"function": "once", "idempotency": {"keyFields": ["/other"]}},
    ]});
    let plan = orders_with(json!({"image": "registry/sidecar:2"}), parameters);
    assert_eq!(fields(&pod, &plan), Vec::<String>::new());
}

#[test]
fn resources_that_the_namespace_or_another_webhook_gave_are_no_difference() {
    let mut pod = live();
    pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"] = "1".into();
    assert_eq!(fields(&pod, &orders()), Vec::<String>::new());
}

#[test]
fn each_field_that_cannot_change_is_named() {
    let function = json!([
        {"name": "once", "port": 15005, "idempotency": {"keyFields": ["/id"]}},
    ]);
    let plan = orders_with(
        json!({
            "functions": function,
            "imagePullSecrets": [{"name": "pull"}],
            "resources": {"requests": {"cpu": "1"}},
            "store": {"postgresql": {
                "host": "db", "database": "orders", "credentials": {"secretName": "new"},
            }},
        }),
        json!({}),
    );
    assert_eq!(
        fields(&live(), &plan),
        [
            "spec.containers[web].env[OUTRIGGER_ONCE_URL]",
            "spec.imagePullSecrets[pull]",
            "spec.initContainers[orders-a].env[OUTRIGGER_LISTEN]",
            "spec.initContainers[orders-a].resources",
            "spec.initContainers[orders-a].volumeMounts[/etc/outrigger/secrets/db]",
            "spec.initContainers[orders-a].volumeMounts[/etc/outrigger/secrets/new]",
            "spec.initContainers[orders-b].env[OUTRIGGER_LISTEN]",
            "spec.initContainers[orders-b].resources",
            "spec.initContainers[orders-b].volumeMounts[/etc/outrigger/secrets/db]",
            "spec.initContainers[orders-b].volumeMounts[/etc/outrigger/secrets/new]",
        ]
    );
    let recreated = injected(&web(), &plan).unwrap();
    assert_eq!(fields(&recreated, &plan), Vec::<String>::new());
}

#[test]
fn added_and_removed_sidecars_are_named_by_their_slots() {
    let plan = plan_of(
        json!([{"name": "bills"}]),
        &[sidecar("bills", "pay-once", 15001, json!({}))],
    );
    assert_eq!(
        fields(&live(), &plan),
        [
            "spec.containers[web].env[OUTRIGGER_ONCE_URL]",
            "spec.containers[web].env[OUTRIGGER_PAY_ONCE_URL]",
            "spec.initContainers[bills-a]",
            "spec.initContainers[bills-b]",
            "spec.initContainers[orders-a]",
            "spec.initContainers[orders-b]",
        ]
    );
}

#[test]
fn containers_that_are_no_longer_chosen_are_named() {
    let mut pod = web();
    pod["spec"]["containers"] = json!([{"name": "first"}, {"name": "second"}]);
    let pod = injected(&pod, &orders()).unwrap();
    let plan = orders_with(json!({}), json!({"containers": ["first"]}));
    assert_eq!(
        fields(&pod, &plan),
        ["spec.containers[second].env[OUTRIGGER_ONCE_URL]"]
    );
}

#[test]
fn slots_of_another_user_are_named() {
    let settings = Settings {
        slot_user: 1000,
        ..Settings::default()
    };
    assert_eq!(
        requires_recreate(&pod(&live()), &orders(), &settings),
        [
            "spec.initContainers[orders-a].securityContext",
            "spec.initContainers[orders-b].securityContext",
        ]
    );
}
