use outrigger_api::conditions::reason;
use outrigger_api::{InjectedSidecar, WorkloadReference};
use outrigger_control::parameters::IdempotencyParameters;
use outrigger_plan::Owners;
use serde_json::json;

use super::fixtures::{application, deployment, pod, shop, sidecar};
use crate::application::read::Found;
use crate::status::Progress;

fn by_workload(found: &mut Found, kind: &str) {
    found.edit(|application| {
        application.spec.selector = None;
        application.spec.workload_ref = Some(WorkloadReference {
            api_version: "apps/v1".into(),
            kind: kind.into(),
            name: "web".into(),
        });
    });
}

#[test]
fn an_application_whose_pods_have_their_sidecars_is_ready() {
    let mut found = shop();
    assert_eq!(
        found.told(),
        (
            reason::SUCCEEDED,
            "new pods get their sidecars; there are none yet".into()
        )
    );
    found.add_injected("a");
    found.add_injected("b");
    let decision = found.decide();
    assert_eq!(decision.summary.progress, Progress::Ready);
    assert_eq!(decision.summary.message, "2 pods have their sidecars");
    assert_eq!(
        decision.sidecars,
        [InjectedSidecar {
            name: "orders".into(),
            configuration: found.plan().sidecars[0].document_hash().unwrap().to_owned(),
            functions: vec!["orders=http://127.0.0.1:15000".into()],
        }]
    );
}

#[test]
fn an_unknown_sidecar_stalls_the_application_and_what_pods_use_stands() {
    let mut found = shop();
    let sidecars = found.decide().sidecars;
    found.edit(|application| {
        application.status.get_or_insert_default().sidecars = sidecars.clone();
        application.spec.sidecars[0].name = "order".into();
    });
    let decision = found.decide();
    assert_eq!(decision.summary.progress, Progress::Stalled);
    assert_eq!(decision.sidecars, sidecars);
    assert_eq!(
        found.told(),
        (
            reason::SIDECAR_NOT_FOUND,
            "IntegratedApp shop sidecars[0].name is \"order\"; no IntegrationSidecar of that name exists in namespace store".into()
        )
    );
}

#[test]
fn sidecars_that_clash_stall_the_application() {
    let mut found = shop();
    found.edit(|application| {
        let mut second = application.spec.sidecars[0].clone();
        second.name = "bills".into();
        application.spec.sidecars.push(second);
    });
    found
        .referenced
        .sidecars
        .insert("bills".into(), sidecar("bills", 15000));
    assert_eq!(
        found.told(),
        (
            reason::FUNCTION_CONFLICT,
            "IntegratedApp shop has function orders of orders and function bills of bills on port 15000; set functions[].port, or container.ports[].port, of one of them to a free one".into()
        )
    );
}

#[test]
fn a_missing_function_parameter_or_config_map_stalls_the_application() {
    let mut found = shop();
    found.edit(|application| {
        application.spec.sidecars[0].functions = Some(["twice".to_owned()].into());
    });
    assert_eq!(found.told().0, reason::FUNCTION_NOT_FOUND);

    let mut found = shop();
    let orders = found.referenced.sidecars.get_mut("orders").unwrap();
    orders.spec.functions[0].idempotency = Some(IdempotencyParameters::default());
    assert_eq!(
        found.told(),
        (
            reason::INVALID_PARAMETERS,
            "function orders of orders: keyFields is given by none of: IntegrationSidecar orders functions[orders].idempotency; it must be a list of 1 to 16 different JSON Pointers, such as [\"/orderId\"]".into()
        )
    );

    let mut found = shop();
    let orders = found.referenced.sidecars.get_mut("orders").unwrap();
    let source = json!([{"configMapRef": {"name": "parameters"}}]);
    orders.spec.functions[0].config_from = serde_json::from_value(source).unwrap();
    assert_eq!(found.told().0, reason::CONFIG_MAP_NOT_FOUND);
}

#[test]
fn a_namespace_that_the_webhook_does_not_cover_comes_before_its_pods() {
    let mut found = shop();
    found.add(pod("a"));
    found.covered = false;
    let summary = found.decide().summary;
    assert_eq!(summary.progress, Progress::Reconciling);
    assert_eq!(summary.reason, reason::INJECTION_NOT_READY);
    assert!(
        summary.message.contains("namespace store yet"),
        "{}",
        summary.message
    );
}

#[test]
fn a_pod_that_another_application_serves_is_named_with_it() {
    let mut found = shop();
    found.add(pod("a"));
    found
        .applications
        .push(application("older", "2026-01-01T00:00:00Z", json!([])));
    assert_eq!(
        found.told(),
        (
            reason::POD_ALREADY_ADOPTED,
            "pod a is matched by IntegratedApp older too, which serves because it is older; let workloadRef or selector of IntegratedApp shop match other pods than theirs".into()
        )
    );
}

#[test]
fn pods_without_sidecars_are_named_with_what_to_do() {
    let mut found = shop();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        found.add(pod(name));
    }
    assert_eq!(
        found.told(),
        (
            reason::PODS_NOT_INJECTED,
            "7 pods (a, b, c, d, e and 2 more) are without the sidecars of IntegratedApp shop: created before it, or while the webhook was away; create them anew: restart their workload, or delete them if it replaces them".into()
        )
    );
    found.pods.truncate(1);
    found.pods[0].owners = Owners {
        direct: Some(deployment("web")),
        indirect: None,
    };
    by_workload(&mut found, "Deployment");
    assert_eq!(
        found.told().1,
        "pod a is without the sidecars of IntegratedApp shop: created before it, or while the webhook was away; create them anew: kubectl rollout restart deployment/web -n store"
    );
}

#[test]
fn fields_that_cannot_change_in_place_are_named_with_the_pods() {
    let mut found = shop();
    found.add_injected("a");
    found.add_injected("b");
    let orders = found.referenced.sidecars.get_mut("orders").unwrap();
    let store = orders
        .spec
        .store
        .as_mut()
        .and_then(|store| store.postgresql.as_mut());
    store.unwrap().credentials.secret_name = "other".into();
    let (found_reason, message) = found.told();
    assert_eq!(found_reason, reason::REQUIRES_RECREATE);
    assert_eq!(
        message,
        "2 pods (a, b) are not as the spec asks for in fields that cannot change in a running pod: spec.initContainers[orders-a].volumeMounts[/etc/outrigger/secrets/db], spec.initContainers[orders-a].volumeMounts[/etc/outrigger/secrets/other], spec.initContainers[orders-b].volumeMounts[/etc/outrigger/secrets/db], spec.initContainers[orders-b].volumeMounts[/etc/outrigger/secrets/other]; create them anew: restart their workload, or delete them if it replaces them"
    );
}

#[test]
fn new_parameters_are_pending_until_every_order_names_them() {
    let mut found = shop();
    found.add_injected("a");
    found.edit(|application| {
        let parameters = json!([{"function": "orders", "idempotency": {"keyFields": ["/other"]}}]);
        application.spec.sidecars[0].parameters = serde_json::from_value(parameters).unwrap();
    });
    let summary = found.decide().summary;
    assert_eq!(summary.progress, Progress::Reconciling);
    assert_eq!(summary.reason, reason::CONFIGURATION_PENDING);
    assert_eq!(
        summary.message,
        "pod a is still to be told of the new configuration"
    );
}
