//! Pods with the slots of a sidecar that several applications share.

use std::collections::BTreeMap;

use outrigger_control::{Order, PerSlot, Tenants};
use outrigger_injection::{
    FunctionPod, NamespaceRules, Place, Resident, Settings, Trial, function_pod, preflight_pod,
    shared_service,
};
use outrigger_plan::SharedPlan;
use serde_json::{Value, json};

use crate::fixtures::{injected, orders, orders_with, sidecar, web};

fn shared(more: Value) -> SharedPlan {
    let mut spec = json!({"sharing": "Node", "imagePullSecrets": [{"name": "pull"}]});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let application = orders_with(spec.clone(), json!({}));
    let sidecar = sidecar("orders", "once", 15000, spec);
    SharedPlan::new(&sidecar, [&application], Vec::new()).unwrap()
}

fn tenants() -> Tenants {
    Tenants {
        v: 1,
        addresses: BTreeMap::from([("shop".to_owned(), vec!["10.0.0.7".parse().unwrap()])]),
    }
}

fn made(plan: &SharedPlan, place: Place<'_>) -> Value {
    let wanted = FunctionPod {
        name: "outrigger-orders-1",
        place,
        tenants: &tenants(),
        holder_image: "registry/operator:1",
    };
    let (settings, rules) = (Settings::default(), NamespaceRules::default());
    serde_json::to_value(function_pod(plan, &wanted, &settings, &rules).unwrap()).unwrap()
}

#[test]
fn it_belongs_to_the_sidecar_and_to_no_application_and_knows_who_calls() {
    let plan = shared(json!({}));
    let found = made(&plan, Place::Node("node-1"));
    assert_eq!(
        found["metadata"]["labels"],
        json!({"outrigger.dev/shared-sidecar": "orders"})
    );
    let annotations = &found["metadata"]["annotations"];
    assert_eq!(
        annotations["outrigger.dev/tenants-orders"],
        "{\"v\":1,\"addresses\":{\"shop\":[\"10.0.0.7\"]}}"
    );
    let order = Order::parse(annotations["outrigger.dev/slot-orders"].as_str().unwrap()).unwrap();
    assert_eq!(order.config, PerSlot::both(plan.document_hash.clone()));
    assert_eq!((order.term, order.single), (1, false));
    let sources = &found["spec"]["volumes"][0]["projected"]["sources"];
    let file = |path: &str, annotation: &str| {
        json!({
            "path": path,
            "fieldRef": {
                "apiVersion": "v1",
                "fieldPath": format!("metadata.annotations['outrigger.dev/{annotation}']"),
            },
        })
    };
    assert_eq!(
        *sources,
        json!([
            {"configMap": {"name": "outrigger.shared.orders.all"}},
            {"downwardAPI": {"items": [
                file("order.json", "slot-orders"),
                file("tenants.json", "tenants-orders"),
            ]}},
        ])
    );
}

#[test]
fn its_slots_are_those_of_an_application_that_listen_on_all_addresses() {
    let found = made(&shared(json!({})), Place::Any);
    let mut own = injected(&web(), &orders()).unwrap()["spec"]["initContainers"].clone();
    for slot in own.as_array_mut().unwrap() {
        let env = slot["env"].as_array_mut().unwrap();
        env.push(json!({"name": "OUTRIGGER_BIND", "value": "::"}));
    }
    assert_eq!(found["spec"]["initContainers"], own);
}

#[test]
fn only_the_holder_is_probed_and_nothing_reaches_the_api() {
    let found = made(&shared(json!({})), Place::Any);
    let spec = &found["spec"];
    assert_eq!(
        spec["containers"],
        json!([{
            "name": "holder",
            "image": "registry/operator:1",
            "imagePullPolicy": "IfNotPresent",
            "args": ["hold", "--port=15010", "--slot-port=15020", "--slot-port=15021"],
            "ports": [{"containerPort": 15010, "protocol": "TCP"}],
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": 15010},
                "periodSeconds": 1,
                "timeoutSeconds": 2,
                "failureThreshold": 3,
            },
            "resources": {
                "requests": {"cpu": "5m", "memory": "16Mi"},
                "limits": {"memory": "32Mi"},
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
        }])
    );
    assert_eq!(spec["automountServiceAccountToken"], false);
    assert_eq!(spec["terminationGracePeriodSeconds"], 60);
    assert_eq!(spec["restartPolicy"], Value::Null, "Always is the default");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
}

#[test]
fn the_holder_leaves_the_ports_of_functions_alone() {
    let functions = json!([
        {"name": "once", "port": 15010, "idempotency": {"keyFields": ["/id"]}},
    ]);
    let found = made(&shared(json!({"functions": functions})), Place::Any);
    assert_eq!(found["spec"]["containers"][0]["args"][1], "--port=15011");
}

#[test]
fn it_is_where_its_consumers_are_or_apart_from_its_like() {
    let on_node = made(&shared(json!({})), Place::Node("node-1"));
    let required = "requiredDuringSchedulingIgnoredDuringExecution";
    assert_eq!(
        on_node["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"],
        json!([{"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["node-1"]},
        ]}])
    );
    assert_eq!(
        on_node["spec"]["tolerations"],
        json!([{"operator": "Exists"}])
    );
    let anywhere = made(&shared(json!({"sharing": "Namespace"})), Place::Any);
    assert_eq!(anywhere["spec"]["affinity"], Value::Null);
    assert_eq!(
        anywhere["spec"]["topologySpreadConstraints"],
        json!([{
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"outrigger.dev/shared-sidecar": "orders"}},
        }])
    );
}

#[test]
fn a_service_leads_to_it_and_stays_on_the_node_if_that_is_asked_for() {
    for (sharing, policy) in [("Node", "Local"), ("Namespace", "Cluster")] {
        let service = shared_service(&shared(json!({"sharing": sharing})));
        assert_eq!(
            serde_json::to_value(service).unwrap(),
            json!({
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "outrigger-orders", "namespace": "store"},
                "spec": {
                    "selector": {"outrigger.dev/shared-sidecar": "orders"},
                    "ports": [
                        {"name": "once", "port": 15000, "targetPort": 15000, "protocol": "TCP"},
                    ],
                    "internalTrafficPolicy": policy,
                    "ipFamilyPolicy": "PreferDualStack",
                },
            })
        );
    }
}

#[test]
fn a_preflight_tries_the_configuration_of_all_applications() {
    let plan = shared(json!({}));
    let trial = Trial {
        image: "registry/sidecar:2",
        revision: "orders-00ff00ff00",
        node: None,
        like: None,
    };
    let (settings, rules) = (Settings::default(), NamespaceRules::default());
    let resident = Resident::of_function_pods(&plan);
    let found = preflight_pod(&resident, &trial, "registry/operator:1", &settings, &rules);
    let found = serde_json::to_value(found.unwrap()).unwrap();
    assert_eq!(found["metadata"]["namespace"], "store");
    assert_eq!(
        found["spec"]["volumes"][0]["projected"]["sources"],
        json!([{"configMap": {"name": "outrigger.shared.orders.all"}}])
    );
    let document = json!({"name": "OUTRIGGER_DOCUMENT", "value": plan.document_hash});
    let env = found["spec"]["containers"][0]["env"].as_array().unwrap();
    assert!(env.contains(&document));
}
