use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, plan_of, sidecar, web};

fn order(hash: &str) -> String {
    let revision = outrigger_plan::revision_name("orders", "registry/sidecar:1");
    format!(
        "{{\"v\":1,\"term\":1,\"active\":\"a\",\"config\":{{\"a\":\"{hash}\",\"b\":\"{hash}\"}},\"revision\":{{\"a\":\"{revision}\",\"b\":\"{revision}\"}},\"admin\":{{\"a\":15020,\"b\":15021}},\"phase\":\"Rest\",\"since\":\"1970-01-01T00:00:00Z\"}}"
    )
}

fn slot(slot: &str, admin: u16) -> Value {
    json!({
        "name": format!("orders-{slot}"),
        "image": "registry/sidecar:1",
        "imagePullPolicy": "IfNotPresent",
        "args": ["slot"],
        "env": [
            {
                "name": "OUTRIGGER_POD_NAME",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}},
            },
            {"name": "OUTRIGGER_POD", "value": "store/$(OUTRIGGER_POD_NAME)"},
            {"name": "OUTRIGGER_SIDECAR", "value": "orders"},
            {"name": "OUTRIGGER_LISTEN", "value": "once=15000"},
            {"name": "OUTRIGGER_SLOT", "value": slot},
            {"name": "OUTRIGGER_ADMIN_PORT", "value": admin.to_string()},
        ],
        "ports": [{"containerPort": admin, "protocol": "TCP"}],
        "resources": {
            "limits": {"memory": "128Mi"},
            "requests": {"cpu": "10m", "memory": "32Mi"},
        },
        "restartPolicy": "Always",
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true,
            "runAsGroup": 65532,
            "runAsNonRoot": true,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "ctrl-orders", "mountPath": "/etc/outrigger/control", "readOnly": true},
            {
                "name": "outrigger-secret-41a21b0d157a935f",
                "mountPath": "/etc/outrigger/secrets/db",
                "readOnly": true,
            },
            {"name": "swap-orders", "mountPath": "/run/outrigger"},
            {
                "name": "outrigger-no-token",
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "readOnly": true,
            },
        ],
    })
}

fn names(containers: &Value) -> Vec<&str> {
    let list = containers.as_array().unwrap();
    list.iter()
        .map(|container| container["name"].as_str().unwrap())
        .collect()
}

#[test]
fn a_pod_gets_two_slots_their_volumes_and_the_address_and_nothing_else() {
    let plan = orders();
    let expected = json!({
        "metadata": {
            "generateName": "web-5d8-",
            "labels": {"app": "shop", "outrigger.dev/app": "shop"},
            "annotations": {
                "outrigger.dev/slot-orders": order(plan.sidecars[0].document_hash().unwrap()),
            },
        },
        "spec": {
            "initContainers": [slot("a", 15020), slot("b", 15021)],
            "containers": [{
                "name": "web",
                "image": "web:1",
                "env": [
                    {"name": "OUTRIGGER_ONCE_URL", "value": "http://127.0.0.1:15000"},
                    {"name": "MODE", "value": "fast"},
                ],
                "ports": [{"containerPort": 8080}],
            }],
            "volumes": [
                {
                    "name": "ctrl-orders",
                    "projected": {
                        "defaultMode": 0o444,
                        "sources": [
                            {"configMap": {"name": "outrigger.shop.orders"}},
                            {"downwardAPI": {"items": [{
                                "path": "order.json",
                                "fieldRef": {
                                    "apiVersion": "v1",
                                    "fieldPath":
                                        "metadata.annotations['outrigger.dev/slot-orders']",
                                },
                            }]}},
                        ],
                    },
                },
                {"name": "swap-orders", "emptyDir": {"sizeLimit": "64Mi"}},
                {
                    "name": "outrigger-secret-41a21b0d157a935f",
                    "secret": {"secretName": "db", "defaultMode": 0o444},
                },
                {"name": "outrigger-no-token", "emptyDir": {}},
            ],
        },
    });
    assert_eq!(injected(&web(), &plan).unwrap(), expected);
}

#[test]
fn slots_start_before_the_init_containers_and_native_sidecars_of_the_application() {
    let mut pod = web();
    let own = json!([
        {"name": "migrate", "image": "m:1", "someFieldOfALaterVersion": true},
        {"name": "proxy", "image": "p:1", "restartPolicy": "Always"},
    ]);
    pod["spec"]["initContainers"] = own.clone();
    let injected = injected(&pod, &orders()).unwrap();
    let init = &injected["spec"]["initContainers"];
    assert_eq!(names(init), ["orders-a", "orders-b", "migrate", "proxy"]);
    assert_eq!(init[2], own[0], "untouched, with fields unknown to us");
    assert_eq!(init[3], own[1]);
}

#[test]
fn pods_of_jobs_keep_their_restart_policy() {
    for policy in ["Never", "OnFailure"] {
        let mut pod = web();
        pod["spec"]["restartPolicy"] = policy.into();
        let injected = injected(&pod, &orders()).unwrap();
        assert_eq!(injected["spec"]["restartPolicy"], policy);
        for slot in injected["spec"]["initContainers"].as_array().unwrap() {
            assert_eq!(slot["restartPolicy"], "Always", "a Job waits for others");
        }
    }
}

#[test]
fn pull_secrets_of_the_sidecar_are_added_once() {
    let plan = orders_with(
        json!({"imagePullSecrets": [{"name": "mine"}, {"name": "theirs"}]}),
        json!({}),
    );
    let mut pod = web();
    pod["spec"]["imagePullSecrets"] = json!([{"name": "theirs"}]);
    let injected = injected(&pod, &plan).unwrap();
    assert_eq!(
        injected["spec"]["imagePullSecrets"],
        json!([{"name": "theirs"}, {"name": "mine"}])
    );
}

#[test]
fn only_the_chosen_containers_get_addresses() {
    let plan = orders_with(json!({}), json!({"containers": ["second"]}));
    let mut pod = web();
    pod["spec"]["containers"] = json!([{"name": "first"}, {"name": "second"}]);
    let injected = injected(&pod, &plan).unwrap();
    let containers = &injected["spec"]["containers"];
    assert_eq!(containers[0], json!({"name": "first"}));
    assert_eq!(containers[1]["env"][0]["name"], "OUTRIGGER_ONCE_URL");
}

#[test]
fn several_sidecars_stand_in_the_order_of_the_application_and_share_what_is_common() {
    let plan = plan_of(
        json!([{"name": "orders"}, {"name": "bills"}]),
        &[
            sidecar("orders", "once", 15000, json!({})),
            sidecar("bills", "pay-once", 15001, json!({})),
        ],
    );
    let injected = injected(&web(), &plan).unwrap();
    let spec = &injected["spec"];
    assert_eq!(
        names(&spec["initContainers"]),
        ["orders-a", "orders-b", "bills-a", "bills-b"]
    );
    assert_eq!(
        names(&spec["volumes"]),
        [
            "ctrl-orders",
            "swap-orders",
            "outrigger-secret-41a21b0d157a935f",
            "ctrl-bills",
            "swap-bills",
            "outrigger-no-token",
        ]
    );
    assert_eq!(
        names(&spec["containers"][0]["env"]),
        ["OUTRIGGER_ONCE_URL", "OUTRIGGER_PAY_ONCE_URL", "MODE"]
    );
    let bills = injected["metadata"]["annotations"]["outrigger.dev/slot-bills"].as_str();
    assert!(
        bills
            .unwrap()
            .contains("\"admin\":{\"a\":15022,\"b\":15023}")
    );
}

#[test]
fn annotations_and_labels_that_a_tenant_wrote_are_overwritten_or_removed() {
    let plan = orders();
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({
        "outrigger.dev/slot-orders": "{\"term\":99}",
        "outrigger.dev/slot-ghost": "{}",
        "example.com/kept": "yes",
    });
    pod["metadata"]["labels"] = json!({"outrigger.dev/app": "other", "outrigger.dev/x": "y"});
    let injected = injected(&pod, &plan).unwrap();
    assert_eq!(
        injected["metadata"]["annotations"],
        json!({
            "outrigger.dev/slot-orders": order(plan.sidecars[0].document_hash().unwrap()),
            "example.com/kept": "yes",
        })
    );
    assert_eq!(
        injected["metadata"]["labels"],
        json!({"outrigger.dev/app": "shop"})
    );
}

#[test]
fn a_pod_of_no_application_loses_what_only_the_operator_may_write() {
    let mut pod = web();
    pod["metadata"]["annotations"] = json!({"outrigger.dev/slot-orders": "{}", "a": "b"});
    pod["metadata"]["labels"] = json!({"outrigger.dev/app": "shop", "c": "d"});
    let patch = outrigger_injection::disown(&crate::fixtures::pod(&pod));
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["metadata"]["annotations"], json!({"a": "b"}));
    assert_eq!(pod["metadata"]["labels"], json!({"c": "d"}));
    assert!(outrigger_injection::disown(&crate::fixtures::pod(&web())).is_empty());
}

#[test]
fn a_new_pod_gets_the_revision_that_all_pods_have() {
    let mut plan = orders();
    let status = json!({"currentRevision": {
        "name": "orders-00ff00ff00", "image": "registry/sidecar:0", "digest": "sha256:aa",
    }});
    plan.sidecars[0].sidecar.status = Some(serde_json::from_value(status).unwrap());
    let injected = injected(&web(), &plan).unwrap();
    for slot in injected["spec"]["initContainers"].as_array().unwrap() {
        assert_eq!(slot["image"], "registry/sidecar:00ff00ff00-0@sha256:aa");
    }
    let order = injected["metadata"]["annotations"]["outrigger.dev/slot-orders"].as_str();
    assert!(
        order
            .unwrap()
            .contains("\"revision\":{\"a\":\"orders-00ff00ff00\"")
    );
}
