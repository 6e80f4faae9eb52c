//! Applications are validated with everything that they refer to.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::parameters::{Idempotency, SecretUnreadable};
use outrigger_control::{FunctionKind, PerSlot};
use outrigger_plan::{ApplicationPlan, Form, Referenced, SidecarPlan, SlotsPlan};
use serde_json::{Value, json};

fn application(name: &str, sidecars: Value) -> IntegratedApp {
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": name}}, "sidecars": sidecars},
    }))
    .unwrap()
}

fn sidecar(name: &str, functions: Value) -> IntegrationSidecar {
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "image": "outrigger/sidecar:1",
            "functions": functions,
            "store": {"postgresql": {
                "host": "db", "database": "orders", "credentials": {"secretName": "db"},
            }},
        },
    }))
    .unwrap()
}

fn referenced(sidecars: impl IntoIterator<Item = IntegrationSidecar>) -> Referenced {
    Referenced {
        sidecars: sidecars
            .into_iter()
            .map(|sidecar| (sidecar.metadata.name.clone().unwrap(), sidecar))
            .collect(),
        config_maps: BTreeMap::new(),
    }
}

fn message(application: &IntegratedApp, referenced: &Referenced) -> (String, &'static str) {
    let error = ApplicationPlan::new(application, referenced).unwrap_err();
    (error.to_string(), error.reason())
}

fn slots(plan: &SidecarPlan) -> &SlotsPlan {
    match &plan.form {
        Form::Slots(slots) => slots,
        other => panic!("{other:?}"),
    }
}

fn key_fields(plan: &SidecarPlan) -> Vec<String> {
    let FunctionKind::Idempotency(layers) = &plan.document().unwrap().functions[0].kind else {
        panic!("another kind of function");
    };
    let no_secrets = |name: &str| {
        Err(SecretUnreadable {
            name: name.into(),
            message: "none".into(),
        })
    };
    let resolved = Idempotency::resolve(layers, &no_secrets).unwrap();
    resolved
        .key_fields
        .iter()
        .map(|field| field.as_str().to_owned())
        .collect()
}

#[test]
fn two_applications_with_different_key_fields_share_one_sidecar() {
    let shared = referenced([sidecar(
        "orders",
        json!([{"name": "once", "idempotency": {}}]),
    )]);
    let plan = |name: &str, field: &str| {
        let usage = json!([{"name": "orders", "parameters": [
            {"function": "once", "idempotency": {"keyFields": [field]}},
        ]}]);
        ApplicationPlan::new(&application(name, usage), &shared).unwrap()
    };
    let (first, second) = (plan("web", "/orderId"), plan("batch", "/line/id"));
    assert_eq!(key_fields(&first.sidecars[0]), ["/orderId"]);
    assert_eq!(key_fields(&second.sidecars[0]), ["/line/id"]);
    assert_ne!(
        first.sidecars[0].document_hash(),
        second.sidecars[0].document_hash()
    );
}

#[test]
fn later_sources_win_over_earlier_ones() {
    let functions = json!([{
        "name": "once",
        "idempotency": {"keyFields": ["/a"]},
        "configFrom": [{"configMapRef": {"name": "one"}}, {"configMapRef": {"name": "two"}}],
    }]);
    let mut referenced = referenced([sidecar("orders", functions)]);
    let data = |value: &str| BTreeMap::from([("keyFields".to_owned(), value.to_owned())]);
    referenced
        .config_maps
        .insert("one".into(), data("[\"/b\"]"));
    referenced
        .config_maps
        .insert("two".into(), data("[\"/c\"]"));
    let plan = ApplicationPlan::new(
        &application("web", json!([{"name": "orders"}])),
        &referenced,
    )
    .unwrap();
    assert_eq!(key_fields(&plan.sidecars[0]), ["/c"]);
}

#[test]
fn secrets_are_mounted_and_never_part_of_the_document() {
    let functions = json!([{
        "name": "once",
        "idempotency": {},
        "configFrom": [{"secretRef": {"name": "hidden"}}],
    }]);
    let plan = ApplicationPlan::new(
        &application("web", json!([{"name": "orders"}])),
        &referenced([sidecar("orders", functions)]),
    )
    .unwrap();
    let secrets: Vec<_> = slots(&plan.sidecars[0]).secrets.iter().collect();
    assert_eq!(secrets, ["db", "hidden"]);
}

#[test]
fn admin_ports_follow_the_order_of_the_sidecars() {
    let functions = |name: &str, port: i32| json!([{"name": name, "port": port, "idempotency": {"keyFields": ["/id"]}}]);
    let plan = ApplicationPlan::new(
        &application("web", json!([{"name": "one"}, {"name": "two"}])),
        &referenced([
            sidecar("one", functions("first", 15000)),
            sidecar("two", functions("second", 15001)),
        ]),
    )
    .unwrap();
    assert_eq!(
        slots(&plan.sidecars[0]).admin,
        PerSlot { a: 15020, b: 15021 }
    );
    assert_eq!(
        slots(&plan.sidecars[1]).admin,
        PerSlot { a: 15022, b: 15023 }
    );
}

#[test]
fn an_unknown_sidecar_is_named_with_its_place() {
    assert_eq!(
        message(&application("web", json!([{"name": "orders"}])), &referenced([])),
        (
            "IntegratedApp web sidecars[0].name is \"orders\"; no IntegrationSidecar of that name exists in namespace shop".into(),
            "SidecarNotFound"
        )
    );
}

#[test]
fn an_unknown_function_is_named_with_those_that_exist() {
    let orders = referenced([sidecar(
        "orders",
        json!([{"name": "once", "idempotency": {"keyFields": ["/id"]}}]),
    )]);
    let usage = json!([{"name": "orders", "functions": ["twice"]}]);
    assert_eq!(
        message(&application("web", usage), &orders),
        (
            "IntegratedApp web sidecars[0].functions names function \"twice\"; IntegrationSidecar orders has once".into(),
            "FunctionNotFound"
        )
    );
}

#[test]
fn clashing_names_and_ports_are_refused_with_both_users() {
    let function = |name: &str, port: i32| json!([{"name": name, "port": port, "idempotency": {"keyFields": ["/id"]}}]);
    let both = json!([{"name": "one"}, {"name": "two"}]);
    let same_name = referenced([
        sidecar("one", function("once", 15000)),
        sidecar("two", function("once", 15001)),
    ]);
    assert_eq!(
        message(&application("web", both.clone()), &same_name),
        (
            "IntegratedApp web uses function \"once\" of IntegrationSidecar one and of IntegrationSidecar two; names of functions and ports must be unique in an application".into(),
            "FunctionConflict"
        )
    );
    let same_port = referenced([
        sidecar("one", function("a", 15000)),
        sidecar("two", function("b", 15000)),
    ]);
    assert_eq!(
        message(&application("web", both.clone()), &same_port).0,
        "IntegratedApp web has function a of one and function b of two on port 15000; set functions[].port, or container.ports[].port, of one of them to a free one"
    );
    let admin_port = referenced([
        sidecar("one", function("a", 15021)),
        sidecar("two", function("b", 15000)),
    ]);
    assert_eq!(
        message(&application("web", both), &admin_port).0,
        "IntegratedApp web has the admin server of one-b and function a of one on port 15021; set functions[].port, or container.ports[].port, of one of them to a free one"
    );
}

#[test]
fn a_missing_config_map_and_a_bad_value_are_told_by_source() {
    let functions = json!([{
        "name": "once",
        "idempotency": {},
        "configFrom": [{"configMapRef": {"name": "one"}}],
    }]);
    let mut referenced = referenced([sidecar("orders", functions)]);
    let web = application("web", json!([{"name": "orders"}]));
    assert_eq!(
        message(&web, &referenced),
        (
            "IntegrationSidecar orders functions[once].configFrom[0].configMapRef names ConfigMap \"one\", which does not exist in namespace shop".into(),
            "ConfigMapNotFound"
        )
    );
    referenced.config_maps.insert(
        "one".into(),
        BTreeMap::from([("keyFields".into(), "id".into())]),
    );
    assert_eq!(
        message(&web, &referenced),
        (
            "function once of orders: ConfigMap one: keyFields is \"id\"; allowed is a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]".into(),
            "InvalidParameters"
        )
    );
}
