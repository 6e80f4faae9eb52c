//! Images that are not built on the chassis.

use outrigger_control::Slot;
use outrigger_injection::{NamespaceRules, QosClass, Resident, preflight_pod};
use outrigger_injection::{
    Settings, Trial, container_name, orders, qos_class, requires_recreate, slot_image, slot_index,
};
use outrigger_plan::{ApplicationPlan, revision_name};
use serde_json::{Value, json};

use crate::fixtures::{foreign, injected, plan_of, pod, sidecar, web};

fn proxy_with(container: &Value) -> ApplicationPlan {
    plan_of(
        json!([{"name": "proxy"}]),
        &[foreign("proxy", container, &json!({}))],
    )
}

fn proxy() -> ApplicationPlan {
    proxy_with(&json!({
        "command": ["/proxy"],
        "args": ["--quiet"],
        "env": [
            {"name": "LEVEL", "value": "warn"},
            {"name": "EMPTY", "value": ""},
            {"name": "TOKEN", "secretKeyRef": {"name": "keys", "key": "token"}},
        ],
        "ports": [{"name": "cache-get", "port": 15005}],
    }))
}

fn fields(value: &Value, plan: &ApplicationPlan) -> Vec<String> {
    requires_recreate(&pod(value), plan, &Settings::default())
}

#[test]
fn a_pod_gets_one_container_and_the_address() {
    let revision = revision_name("proxy", "registry/proxy:1");
    let mut expected = web();
    expected["metadata"]["labels"]["outrigger.dev/app"] = "shop".into();
    expected["metadata"]["annotations"] = json!({
        "outrigger.dev/slot-proxy": format!(
            "{{\"v\":1,\"term\":1,\"active\":\"a\",\"config\":{{\"a\":\"\",\"b\":\"\"}},\"revision\":{{\"a\":\"{revision}\",\"b\":\"{revision}\"}},\"admin\":{{\"a\":0,\"b\":0}},\"phase\":\"Rest\",\"since\":\"1970-01-01T00:00:00Z\",\"single\":true}}"
        ),
        "outrigger.dev/environment": "{\"proxy\":[\"LEVEL\",\"EMPTY\",\"TOKEN\"]}",
    });
    expected["spec"]["containers"][0]["env"] = json!([
        {"name": "OUTRIGGER_CACHE_GET_URL", "value": "http://127.0.0.1:15005"},
        {"name": "MODE", "value": "fast"},
    ]);
    expected["spec"]["initContainers"] = json!([{
        "name": "proxy",
        "image": "registry/proxy:1",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/proxy"],
        "args": ["--quiet"],
        "env": [
            {"name": "LEVEL", "value": "warn"},
            {"name": "EMPTY"},
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        ],
        "ports": [{"containerPort": 15005, "protocol": "TCP"}],
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
        "volumeMounts": [{
            "name": "outrigger-no-token",
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": true,
        }],
    }]);
    expected["spec"]["volumes"] = json!([{"name": "outrigger-no-token", "emptyDir": {}}]);
    let found = injected(&web(), &proxy()).unwrap();
    assert_eq!(found, expected);
    assert_eq!(injected(&found, &proxy()).unwrap(), found);
    assert_eq!(fields(&found, &proxy()), Vec::<String>::new());
}

#[test]
fn an_image_may_ask_for_a_file_system_that_it_can_write_to() {
    let plan = proxy_with(&json!({"writableRootFilesystem": true}));
    let found = injected(&web(), &plan).unwrap();
    let container = &found["spec"]["initContainers"][0];
    assert_eq!(
        container["securityContext"]["readOnlyRootFilesystem"],
        false
    );
    assert_eq!(
        fields(&found, &proxy_with(&json!({}))),
        ["spec.initContainers[proxy].securityContext"]
    );
}

#[test]
fn its_only_container_stands_for_both_slots() {
    let found = pod(&injected(&web(), &proxy()).unwrap());
    let orders = orders(&found);
    let order = orders["proxy"].as_ref().unwrap();
    for slot in Slot::BOTH {
        assert_eq!(container_name(order, "proxy", slot), "proxy");
        assert_eq!(slot_index(&found, "proxy", slot), Some(0));
        assert_eq!(slot_image(&found, "proxy", slot), Some("registry/proxy:1"));
    }
}

#[test]
fn each_field_that_cannot_change_is_named_also_when_it_is_taken_away() {
    let live = injected(&web(), &proxy()).unwrap();
    let plan = proxy_with(&json!({
        "args": ["--loud"],
        "env": [
            {"name": "LEVEL", "value": "info"},
            {"name": "TOKEN", "secretKeyRef": {"name": "keys", "key": "other"}},
        ],
        "ports": [{"name": "cache-get", "port": 15006}],
    }));
    assert_eq!(
        fields(&live, &plan),
        [
            "spec.containers[web].env[OUTRIGGER_CACHE_GET_URL]",
            "spec.initContainers[proxy].args",
            "spec.initContainers[proxy].command",
            "spec.initContainers[proxy].env[EMPTY]",
            "spec.initContainers[proxy].env[LEVEL]",
            "spec.initContainers[proxy].env[TOKEN]",
            "spec.initContainers[proxy].ports[15005]",
            "spec.initContainers[proxy].ports[15006]",
        ]
    );
    let recreated = injected(&web(), &plan).unwrap();
    assert_eq!(fields(&recreated, &plan), Vec::<String>::new());
    assert_eq!(injected(&live, &plan).unwrap(), recreated);
}

#[test]
fn the_order_of_variables_is_no_difference_and_only_those_removed_are_named() {
    let level = json!({"name": "LEVEL", "value": "warn"});
    let region = json!({"name": "REGION", "value": "x"});
    let zone = json!({"name": "ZONE", "value": "y"});
    let plan = |env: &[&Value]| proxy_with(&json!({"env": env}));
    let live = injected(&web(), &plan(&[&level, &region, &zone])).unwrap();
    assert_eq!(
        fields(&live, &plan(&[&zone, &region, &level])),
        Vec::<String>::new()
    );
    assert_eq!(
        fields(&live, &plan(&[&level, &zone])),
        ["spec.initContainers[proxy].env[REGION]"]
    );
    assert_eq!(
        fields(&live, &plan(&[&zone])),
        [
            "spec.initContainers[proxy].env[LEVEL]",
            "spec.initContainers[proxy].env[REGION]",
        ]
    );
}

#[test]
fn variables_that_other_webhooks_add_are_no_difference() {
    let mut live = injected(&web(), &proxy()).unwrap();
    let env = live["spec"]["initContainers"][0]["env"].as_array_mut();
    env.unwrap().push(json!({"name": "REGION", "value": "x"}));
    assert_eq!(fields(&live, &proxy()), Vec::<String>::new());
}

#[test]
fn a_sidecar_that_was_built_on_the_chassis_before_is_replaced_whole() {
    let slots = plan_of(
        json!([{"name": "proxy"}]),
        &[sidecar("proxy", "cache-get", 15005, json!({}))],
    );
    let live = injected(&web(), &slots).unwrap();
    assert_eq!(
        fields(&live, &proxy()),
        [
            "spec.initContainers[proxy-a]",
            "spec.initContainers[proxy-b]",
            "spec.initContainers[proxy]",
        ]
    );
    let copied = injected(&live, &proxy()).unwrap();
    assert_eq!(copied, injected(&web(), &proxy()).unwrap());
}

#[test]
fn its_name_and_its_ports_must_be_free_in_the_pod() {
    let message = |change: &dyn Fn(&mut Value)| {
        let mut value = web();
        change(&mut value["spec"]);
        injected(&value, &proxy()).unwrap_err().to_string()
    };
    assert_eq!(
        message(&|spec| spec["initContainers"] = json!([{"name": "proxy"}])),
        "pod web-5d8-* spec.initContainers has a container \"proxy\"; IntegrationSidecar proxy has proxy in each pod, so rename the container or the IntegrationSidecar"
    );
    assert_eq!(
        message(&|spec| spec["containers"][0]["ports"] = json!([{"containerPort": 15005}])),
        "pod web-5d8-* container web has port 15005 in its ports; port cache-get of IntegrationSidecar proxy listens there, so set container.ports[].port of the sidecar, or the container's port, to a free one"
    );
    assert!(
        message(&|spec| spec["hostNetwork"] = true.into()).contains("spec.hostNetwork is true")
    );
}

#[test]
fn the_class_of_a_guaranteed_pod_stays() {
    let mut value = web();
    value["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "1", "memory": "1Gi"}});
    let found = injected(&value, &proxy()).unwrap();
    assert_eq!(
        qos_class(pod(&found).spec.as_ref().unwrap()),
        QosClass::Guaranteed
    );
}

#[test]
fn a_preflight_pulls_the_image_and_runs_nothing_of_it() {
    let plan = proxy();
    let resident = Resident::of(&plan, &plan.sidecars[0]).unwrap();
    let trial = Trial {
        image: "registry/proxy:2",
        revision: "proxy-00ff00ff00",
        node: Some("node-1"),
        like: None,
    };
    let (settings, rules) = (Settings::default(), NamespaceRules::default());
    let found = preflight_pod(&resident, &trial, "registry/operator:1", &settings, &rules);
    let spec = serde_json::to_value(found.unwrap().spec).unwrap();
    let container = |name: &str, image: &str| {
        json!({
            "name": name,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "resources": {
                "requests": {"cpu": "0", "memory": "0"},
                "limits": {"memory": "128Mi"},
            },
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
        })
    };
    let mut program = container("program", "registry/operator:1");
    program["args"] = json!(["copy-to", "/outrigger-preflight/outrigger"]);
    program["volumeMounts"] =
        json!([{"name": "outrigger-program", "mountPath": "/outrigger-preflight"}]);
    let mut tried = container("preflight", "registry/proxy:2");
    tried["command"] = json!(["/outrigger-preflight/outrigger", "pulled"]);
    tried["volumeMounts"] = json!([{
        "name": "outrigger-program", "mountPath": "/outrigger-preflight", "readOnly": true,
    }]);
    assert_eq!(spec["initContainers"], json!([program]));
    assert_eq!(spec["containers"], json!([tried]));
    assert_eq!(
        spec["volumes"],
        json!([{"name": "outrigger-program", "emptyDir": {"sizeLimit": "128Mi"}}])
    );
    assert_eq!(spec["restartPolicy"], "Never");
    assert_eq!(spec["automountServiceAccountToken"], false);
}
