//! Functions that containers reach through Unix sockets.

use outrigger_injection::{Settings, requires_recreate};
use outrigger_plan::ApplicationPlan;
use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, pod, web};

fn with_sockets(containers: &[&str]) -> ApplicationPlan {
    let usage = json!({"containers": ["web"], "unixSocket": {"mountInto": containers}});
    orders_with(json!({}), usage)
}

/// A pod with a second container beside `web`.
fn two() -> Value {
    let mut value = web();
    let batch = json!({
        "name": "batch", "image": "batch:1", "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    });
    value["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(batch);
    value["spec"]["volumes"] = json!([{"name": "data", "emptyDir": {}}]);
    value
}

fn fields(value: &Value, plan: &ApplicationPlan) -> Vec<String> {
    requires_recreate(&pod(value), plan, &Settings::default())
}

fn mount() -> Value {
    json!({"name": "sock-orders", "mountPath": "/run/outrigger-sockets/orders", "readOnly": true})
}

fn socket() -> Value {
    json!({
        "name": "OUTRIGGER_ONCE_SOCKET", "value": "/run/outrigger-sockets/orders/once.sock",
    })
}

#[test]
fn the_named_containers_get_the_directory_and_the_paths_and_no_others() {
    let plan = with_sockets(&["batch"]);
    let found = injected(&two(), &plan).unwrap();
    let containers = &found["spec"]["containers"];
    assert_eq!(containers[0]["volumeMounts"], Value::Null);
    assert_eq!(containers[0]["env"][0]["name"], "OUTRIGGER_ONCE_URL");
    assert_eq!(containers[0]["env"][1]["name"], "MODE");
    assert_eq!(containers[1]["env"], json!([socket()]));
    assert_eq!(
        containers[1]["volumeMounts"],
        json!([{"name": "data", "mountPath": "/data"}, mount()])
    );
    for slot in found["spec"]["initContainers"].as_array().unwrap() {
        let directory = json!({"name": "OUTRIGGER_SOCKETS", "value": "/run/outrigger-sockets"});
        assert!(slot["env"].as_array().unwrap().contains(&directory));
        let writable = json!({"name": "sock-orders", "mountPath": "/run/outrigger-sockets"});
        assert!(slot["volumeMounts"].as_array().unwrap().contains(&writable));
    }
    let volume = json!({"name": "sock-orders", "emptyDir": {"sizeLimit": "1Mi"}});
    assert!(
        found["spec"]["volumes"]
            .as_array()
            .unwrap()
            .contains(&volume)
    );
    assert_eq!(injected(&found, &plan).unwrap(), found);
    assert_eq!(fields(&found, &plan), Vec::<String>::new());
}

#[test]
fn a_container_that_does_not_exist_is_named_with_those_that_do() {
    assert_eq!(
        injected(&two(), &with_sockets(&["web", "wep"]))
            .unwrap_err()
            .to_string(),
        "IntegratedApp shop sidecars[orders].unixSocket.mountInto names container \"wep\"; the pod has web, batch"
    );
}

#[test]
fn a_path_or_a_variable_that_a_container_has_already_is_refused() {
    let mut value = two();
    let own = json!([{"name": "data", "mountPath": "/run/outrigger-sockets/orders"}]);
    value["spec"]["containers"][1]["volumeMounts"] = own;
    assert_eq!(
        injected(&value, &with_sockets(&["batch"]))
            .unwrap_err()
            .to_string(),
        "pod web-5d8-* container batch has the mount path /run/outrigger-sockets/orders in its volumeMounts; the Unix sockets of IntegrationSidecar orders are to be there, so mount the volume elsewhere, or leave the container out of sidecars[].unixSocket.mountInto of the IntegratedApp"
    );
    let mut value = two();
    value["spec"]["containers"][1]["env"] = json!([{"name": "OUTRIGGER_ONCE_SOCKET"}]);
    assert!(
        injected(&value, &with_sockets(&["batch"]))
            .unwrap_err()
            .to_string()
            .starts_with(
                "pod web-5d8-* container batch has the environment variable OUTRIGGER_ONCE_SOCKET"
            )
    );
}

#[test]
fn sockets_that_come_or_go_need_a_new_pod() {
    let only_containers = orders_with(json!({}), json!({"containers": ["web"]}));
    let (with, without) = (with_sockets(&["batch"]), only_containers);
    let live = injected(&two(), &without).unwrap();
    assert_eq!(
        fields(&live, &with),
        [
            "spec.containers[batch].env[OUTRIGGER_ONCE_SOCKET]",
            "spec.containers[batch].volumeMounts[/run/outrigger-sockets/orders]",
            "spec.initContainers[orders-a].env[OUTRIGGER_SOCKETS]",
            "spec.initContainers[orders-a].volumeMounts[/run/outrigger-sockets]",
            "spec.initContainers[orders-b].env[OUTRIGGER_SOCKETS]",
            "spec.initContainers[orders-b].volumeMounts[/run/outrigger-sockets]",
        ]
    );
    let live = injected(&two(), &with).unwrap();
    assert_eq!(
        fields(&live, &without),
        [
            "spec.containers[batch].env[OUTRIGGER_ONCE_SOCKET]",
            "spec.containers[batch].volumeMounts[/run/outrigger-sockets/orders]",
            "spec.initContainers[orders-a].volumeMounts[/run/outrigger-sockets]",
            "spec.initContainers[orders-b].volumeMounts[/run/outrigger-sockets]",
        ]
    );
}

#[test]
fn slots_have_no_directory_of_sockets_that_nobody_asked_for() {
    let found = injected(&web(), &orders()).unwrap();
    assert!(!found.to_string().contains("outrigger-sockets"));
}
