use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, web};

fn message(change: impl FnOnce(&mut Value)) -> String {
    let mut pod = web();
    change(&mut pod["spec"]);
    injected(&pod, &orders()).unwrap_err().to_string()
}

#[test]
fn pods_on_the_network_of_their_node() {
    assert_eq!(
        message(|spec| spec["hostNetwork"] = true.into()),
        "pod web-5d8-* spec.hostNetwork is true; sidecars of IntegratedApp shop would listen on the node's own ports, so it must be false or absent"
    );
}

#[test]
fn pods_on_windows() {
    assert_eq!(
        message(|spec| spec["os"] = json!({"name": "windows"})),
        "pod web-5d8-* spec.os.name is \"windows\"; sidecars of IntegratedApp shop run on Linux only"
    );
    assert_eq!(
        message(|spec| spec["nodeSelector"] = json!({"kubernetes.io/os": "windows"})),
        "pod web-5d8-* spec.nodeSelector[kubernetes.io/os] is \"windows\"; sidecars of IntegratedApp shop run on Linux only"
    );
}

#[test]
fn containers_with_the_name_of_a_slot() {
    let wrong = "has a container \"orders-b\"; IntegrationSidecar orders has orders-a and orders-b in each pod, so rename the container or the IntegrationSidecar";
    assert_eq!(
        message(|spec| spec["containers"][0]["name"] = "orders-b".into()),
        format!("pod web-5d8-* spec.containers {wrong}")
    );
    assert_eq!(
        message(|spec| spec["initContainers"] = json!([{"name": "orders-b"}])),
        format!("pod web-5d8-* spec.initContainers {wrong}")
    );
}

#[test]
fn volumes_with_a_name_of_ours() {
    assert_eq!(
        message(|spec| spec["volumes"] = json!([{"name": "swap-orders", "emptyDir": {}}])),
        "pod web-5d8-* spec.volumes has a volume \"swap-orders\"; slots of IntegratedApp shop use that name, so rename the volume"
    );
}

#[test]
fn ports_of_functions_and_of_admin_servers() {
    assert_eq!(
        message(|spec| spec["containers"][0]["ports"] = json!([{"containerPort": 15000}])),
        "pod web-5d8-* container web has port 15000 in its ports; function once of IntegrationSidecar orders listens there, so set functions[].port of the sidecar, or the container's port, to a free one"
    );
    assert_eq!(
        message(|spec| {
            spec["initContainers"] = json!([
                {"name": "mesh", "ports": [{"containerPort": 15021, "protocol": "TCP"}]},
            ]);
        }),
        "pod web-5d8-* container mesh has port 15021 in its ports; the admin server of slot orders-b listens there, so set the container's port to one outside 15020 to 15021"
    );
}

#[test]
fn a_udp_port_of_the_same_number_is_no_clash() {
    let mut pod = web();
    pod["spec"]["containers"][0]["ports"] = json!([{"containerPort": 15000, "protocol": "UDP"}]);
    assert!(injected(&pod, &orders()).is_ok());
}

#[test]
fn variables_with_the_name_of_an_address() {
    assert_eq!(
        message(|spec| {
            spec["containers"][0]["env"] = json!([{"name": "OUTRIGGER_ONCE_URL", "value": "x"}]);
        }),
        "pod web-5d8-* container web has the environment variable OUTRIGGER_ONCE_URL in its env; it is to hold the address of function once of the application's sidecars, so rename the variable, or leave the container out of sidecars[].containers and sidecars[].unixSocket.mountInto of the IntegratedApp"
    );
}

#[test]
fn containers_that_the_pod_does_not_have() {
    let plan = orders_with(json!({}), json!({"containers": ["web", "wep"]}));
    assert_eq!(
        injected(&web(), &plan).unwrap_err().to_string(),
        "IntegratedApp shop sidecars[orders].containers names container \"wep\"; the pod has web"
    );
}

#[test]
fn an_annotation_alone_does_not_make_a_container_a_slot() {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"outrigger.dev/slot-orders": "{}"});
    pod["spec"]["initContainers"] = json!([
        {"name": "orders-a", "restartPolicy": "Always"},
        {"name": "orders-b", "restartPolicy": "Always"},
    ]);
    assert!(injected(&pod, &orders()).is_err());
}

#[test]
fn an_application_without_sidecars_refuses_nothing() {
    let plan = crate::fixtures::plan_of(json!([]), &[]);
    let mut pod = web();
    pod["spec"]["hostNetwork"] = true.into();
    let injected = injected(&pod, &plan).unwrap();
    assert_eq!(injected["spec"], pod["spec"]);
    assert_eq!(injected["metadata"]["labels"]["outrigger.dev/app"], "shop");
}
