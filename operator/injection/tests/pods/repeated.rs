//! Every create reaches the webhook twice.

use std::collections::BTreeMap;

use outrigger_injection::{NamespaceRules, Settings, inject, qos_class, requires_recreate};
use outrigger_plan::ApplicationPlan;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fixtures::{foreign, injected, orders, orders_with, plan_of, pod, sidecar, web};

fn changes(value: &Value, plan: &ApplicationPlan) -> usize {
    let rules = NamespaceRules::default();
    let patch = inject(&pod(value), plan, &Settings::default(), &rules, false).unwrap();
    patch.0.len()
}

/// What the API server, its admission plugins and other webhooks make of a pod between two calls.
fn as_others_leave_it(value: &Value) -> Value {
    let mut pod = value.clone();
    let spec = &mut pod["spec"];
    for list in ["containers", "initContainers"] {
        let containers = spec[list].as_array_mut();
        for container in containers.into_iter().flatten() {
            container["terminationMessagePath"] = "/dev/termination-log".into();
            container["imagePullPolicy"] = "Always".into();
            let image = format!("mirror/{}", container["image"].as_str().unwrap_or_default());
            container["image"] = image.into();
            container["resources"]["limits"]["cpu"] = "2".into();
            append(
                &mut container["env"],
                json!({"name": "REGION", "value": "x"}),
            );
            let mount = json!({"name": "identity", "mountPath": "/var/identity"});
            append(&mut container["volumeMounts"], mount);
        }
    }
    append(
        &mut spec["volumes"],
        json!({"name": "identity", "emptyDir": {}}),
    );
    let mesh = json!({"name": "mesh", "image": "mesh", "restartPolicy": "Always"});
    match spec["initContainers"].as_array_mut() {
        Some(list) => list.insert(0, mesh),
        None => spec["initContainers"] = json!([mesh]),
    }
    pod
}

fn append(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(items) => items.push(item),
        None => *list = json!([item]),
    }
}

#[test]
fn a_second_call_changes_nothing_even_after_others_changed_the_pod() {
    let once = injected(&web(), &orders()).unwrap();
    assert_eq!(changes(&once, &orders()), 0);
    assert_eq!(changes(&as_others_leave_it(&once), &orders()), 0);
}

#[test]
fn a_copy_of_a_live_pod_gets_slots_of_its_own() {
    let old = injected(&web(), &orders()).unwrap();
    let mut copy = old.clone();
    let order = copy["metadata"]["annotations"]["outrigger.dev/slot-orders"].as_str();
    let order = order.unwrap().replace("\"term\":1", "\"term\":7");
    copy["metadata"]["annotations"]["outrigger.dev/slot-orders"] = order.into();
    copy["spec"]["initContainers"][1]["image"] = "registry/sidecar:old".into();
    assert_eq!(injected(&copy, &orders()).unwrap(), old);
}

#[test]
fn a_copy_of_a_live_pod_follows_a_changed_port() {
    let copy = injected(&web(), &orders()).unwrap();
    let function = json!([
        {"name": "once", "port": 15005, "idempotency": {"keyFields": ["/id"]}},
    ]);
    let plan = orders_with(json!({"functions": function}), json!({}));
    assert_eq!(
        injected(&copy, &plan).unwrap(),
        injected(&web(), &plan).unwrap()
    );
}

/// Sidecars of every form, in an order that mixes them, some with sockets.
fn mixed() -> impl Strategy<Value = ApplicationPlan> {
    let forms =
        prop::sample::subsequence(vec!["orders", "bills", "route", "proxy", "cache"], 0..=5);
    forms
        .prop_shuffle()
        .prop_flat_map(|names| {
            let sockets = prop::collection::vec(any::<bool>(), names.len());
            (Just(names), sockets)
        })
        .prop_map(|(names, sockets)| {
            let has_slots = |name: &str| ["orders", "bills"].contains(&name);
            let uses =
                names
                    .iter()
                    .zip(sockets)
                    .map(|(name, sockets)| match sockets && has_slots(name) {
                        true => json!({"name": name, "unixSocket": {"mountInto": ["main0"]}}),
                        false => json!({"name": name}),
                    });
            let env = json!([{"name": "A", "value": "of the sidecar"}, {"name": "B", "value": ""}]);
            let proxy = json!({"env": env, "ports": [{"name": "proxy", "port": 15003}]});
            plan_of(
                uses.collect(),
                &[
                    sidecar("orders", "once", 15000, json!({})),
                    sidecar("bills", "pay-once", 15001, json!({})),
                    sidecar("route", "route", 15000, json!({"sharing": "Node"})),
                    foreign(
                        "proxy",
                        &proxy,
                        &json!({"imagePullSecrets": [{"name": "pull"}]}),
                    ),
                    foreign(
                        "cache",
                        &json!({}),
                        &json!({"resources": {"limits": {"cpu": "1"}}}),
                    ),
                ],
            )
        })
}

fn two() -> ApplicationPlan {
    plan_of(
        json!([{"name": "orders"}, {"name": "bills"}]),
        &[
            sidecar("orders", "once", 15000, json!({})),
            sidecar(
                "bills",
                "pay-once",
                15001,
                json!({
                    "imagePullSecrets": [{"name": "pull"}],
                    "resources": {"requests": {"cpu": "20m"}},
                }),
            ),
        ],
    )
}

/// The init containers, whatever their order.
fn by_name(pod: &Value) -> BTreeMap<&str, &Value> {
    let containers = pod["spec"]["initContainers"].as_array();
    containers
        .into_iter()
        .flatten()
        .map(|container| (container["name"].as_str().unwrap(), container))
        .collect()
}

fn mounts_without_volume(value: &Value) -> Vec<String> {
    let spec = pod(value).spec.unwrap();
    let volumes = spec.volumes.unwrap_or_default();
    let containers = spec
        .init_containers
        .into_iter()
        .flatten()
        .chain(spec.containers);
    containers
        .flat_map(|container| container.volume_mounts.unwrap_or_default())
        .map(|mount| mount.name)
        .filter(|name| volumes.iter().all(|volume| volume.name != *name))
        .collect()
}

fn quantities() -> impl Strategy<Value = Value> {
    let cpu = prop::option::of(prop::sample::select(vec!["0", "100m", "1"]));
    let memory = prop::option::of(prop::sample::select(vec!["0", "64Mi", "1Gi"]));
    (cpu, memory).prop_map(|(cpu, memory)| {
        let mut list = json!({});
        if let Some(cpu) = cpu {
            list["cpu"] = cpu.into();
        }
        if let Some(memory) = memory {
            list["memory"] = memory.into();
        }
        list
    })
}

fn resources() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        quantities().prop_map(|limits| json!({"limits": limits})),
        quantities().prop_map(|requests| json!({"requests": requests})),
        quantities().prop_map(|both| json!({"requests": both, "limits": both})),
    ]
}

fn containers(name: &'static str, counts: std::ops::Range<usize>) -> impl Strategy<Value = Value> {
    let container = (resources(), any::<bool>(), any::<bool>());
    prop::collection::vec(container, counts).prop_map(move |found| {
        let list = found.into_iter().enumerate();
        list.map(|(index, (resources, env, ports))| {
            let mut container = json!({"name": format!("{name}{index}"), "image": "i"});
            if !resources.is_null() {
                container["resources"] = resources;
            }
            if env {
                container["env"] = json!([{"name": "A", "value": "b"}]);
            }
            if ports {
                container["ports"] = json!([{"containerPort": 8080}]);
            }
            container
        })
        .collect()
    })
}

prop_compose! {
    fn pods()(
        containers in containers("main", 1..4),
        init in prop::option::of(containers("init", 0..3)),
        volumes in prop::option::of(Just(json!([{"name": "data", "emptyDir": {}}]))),
        secrets in prop::option::of(Just(json!([{"name": "pull"}]))),
        labels in prop::option::of(Just(json!({"outrigger.dev/app": "other", "a": "b"}))),
        annotations in prop::option::of(Just(json!({"outrigger.dev/slot-orders": "x"}))),
        pod_level in prop::option::of(quantities()),
    ) -> Value {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": containers}});
        for (key, value) in [
            ("initContainers", init),
            ("volumes", volumes),
            ("imagePullSecrets", secrets),
            ("resources", pod_level.map(|limits| json!({"limits": limits}))),
        ] {
            if let Some(value) = value {
                pod["spec"][key] = value;
            }
        }
        for (key, value) in [("labels", labels), ("annotations", annotations)] {
            if let Some(value) = value {
                pod["metadata"][key] = value;
            }
        }
        pod
    }
}

proptest! {
    #[test]
    fn injecting_twice_is_injecting_once(value in pods()) {
        let once = injected(&value, &two()).unwrap();
        prop_assert_eq!(changes(&once, &two()), 0);
        prop_assert_eq!(changes(&as_others_leave_it(&once), &two()), 0);
    }

    #[test]
    fn injecting_twice_is_injecting_once_whatever_the_forms(value in pods(), plan in mixed()) {
        let once = injected(&value, &plan).unwrap();
        prop_assert_eq!(changes(&once, &plan), 0);
        prop_assert_eq!(changes(&as_others_leave_it(&once), &plan), 0);
        let fields = requires_recreate(&pod(&once), &plan, &Settings::default());
        prop_assert_eq!(fields, Vec::<String>::new());
    }

    #[test]
    fn a_copy_of_a_pod_follows_whatever_plan_there_is_now(
        value in pods(), former in mixed(), plan in mixed(),
    ) {
        let copy = injected(&injected(&value, &former).unwrap(), &plan).unwrap();
        let fresh = injected(&value, &plan).unwrap();
        prop_assert_eq!(by_name(&copy), by_name(&fresh));
        let annotations = |value: &Value| pod(value).metadata.annotations.unwrap_or_default();
        prop_assert_eq!(annotations(&copy), annotations(&fresh));
        prop_assert_eq!(mounts_without_volume(&copy), Vec::<String>::new());
    }

    #[test]
    fn the_class_never_falls(value in pods()) {
        let class = |value: &Value| qos_class(pod(value).spec.as_ref().unwrap());
        let once = injected(&value, &two()).unwrap();
        prop_assert!(class(&once) >= class(&value));
    }

    #[test]
    fn the_containers_of_the_application_get_variables_and_nothing_else(value in pods()) {
        let mut once = injected(&value, &two()).unwrap();
        for container in once["spec"]["containers"].as_array_mut().unwrap() {
            let env = container["env"].as_array_mut().unwrap();
            env.retain(|variable| variable["name"] == "A");
            if env.is_empty() {
                container.as_object_mut().unwrap().remove("env");
            }
        }
        prop_assert_eq!(&once["spec"]["containers"], &value["spec"]["containers"]);
    }
}
