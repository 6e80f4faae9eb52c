//! Sidecars of an application have one of three forms.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeMap;

use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::{Document, PerSlot, TenantDocument};
use outrigger_plan::{
    ApplicationPlan, Form, InvalidApplication, MOST_DOCUMENT_BYTES, Referenced, SharedPlan,
};
use serde_json::{Value, json};

fn sidecar(name: &str, spec: &Value) -> IntegrationSidecar {
    let mut whole = json!({"image": "image:1"});
    for (field, value) in spec.as_object().unwrap() {
        whole[field] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": whole,
    }))
    .unwrap()
}

fn function(name: &str, port: u16) -> Value {
    json!({"functions": [{"name": name, "port": port, "custom": {}}]})
}

fn shared(name: &str, port: u16) -> Value {
    let mut spec = function(name, port);
    spec["sharing"] = "Node".into();
    spec
}

fn foreign(port_name: &str, port: u16) -> Value {
    json!({"container": {"ports": [{"name": port_name, "port": port}]}})
}

fn plan_for(
    application: &str,
    uses: &Value,
    sidecars: &[(&str, Value)],
) -> Result<ApplicationPlan, InvalidApplication> {
    let application: IntegratedApp = serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {"name": application, "namespace": "shop"},
        "spec": {"selector": {"matchLabels": {"app": application}}, "sidecars": uses},
    }))
    .unwrap();
    let sidecars = sidecars.iter();
    let referenced = Referenced {
        sidecars: sidecars
            .map(|(name, spec)| ((*name).to_owned(), sidecar(name, spec)))
            .collect(),
        config_maps: BTreeMap::new(),
    };
    ApplicationPlan::new(&application, &referenced)
}

/// An application that uses all sidecars.
fn plan(sidecars: &[(&str, Value)]) -> Result<ApplicationPlan, InvalidApplication> {
    let uses: Vec<_> = sidecars
        .iter()
        .map(|(name, _)| json!({"name": name}))
        .collect();
    plan_for("web", &uses.into(), sidecars)
}

fn refused(uses: &Value, sidecars: &[(&str, Value)]) -> (String, &'static str) {
    let error = plan_for("web", uses, sidecars).unwrap_err();
    (error.to_string(), error.reason())
}

fn addresses(plan: &ApplicationPlan) -> Vec<String> {
    let sidecars = plan.sidecars.iter();
    sidecars
        .flat_map(|sidecar| sidecar.functions.iter().map(|found| sidecar.address(found)))
        .collect()
}

#[test]
fn one_application_has_sidecars_of_every_form_and_each_has_its_address() {
    let plan = plan(&[
        ("own", function("once", 15000)),
        ("common", shared("route", 15000)),
        ("proxy", foreign("proxy", 15001)),
    ])
    .unwrap();
    assert_eq!(
        addresses(&plan),
        [
            "http://127.0.0.1:15000",
            "http://outrigger-common.shop.svc:15000",
            "http://127.0.0.1:15001",
        ]
    );
    let [own, common, proxy] = plan.sidecars.as_slice() else {
        panic!("{plan:?}");
    };
    assert_eq!(own.order_config(), own.document_hash());
    assert!(own.document_hash().is_some());
    assert_eq!(common.order_config(), None, "its pods have no order of it");
    assert_eq!(common.document().unwrap().functions[0].name, "route");
    assert_eq!(
        (proxy.order_config(), proxy.document_hash()),
        (Some(""), None)
    );
}

#[test]
fn a_function_has_one_name_in_an_application_whatever_the_form() {
    for (first, second) in [
        (function("x", 15000), shared("x", 15001)),
        (foreign("x", 15000), function("x", 15001)),
        (shared("x", 15000), foreign("x", 15001)),
    ] {
        let found = plan(&[("one", first), ("two", second)]).unwrap_err();
        assert_eq!(
            (found.to_string().as_str(), found.reason()),
            (
                "IntegratedApp web uses function \"x\" of IntegrationSidecar one and of IntegrationSidecar two; names of functions and ports must be unique in an application",
                "FunctionConflict"
            )
        );
    }
}

#[test]
fn ports_collide_only_in_the_pod() {
    let found = plan(&[("one", foreign("a", 15000)), ("two", function("b", 15000))]);
    assert_eq!(
        found.unwrap_err().to_string(),
        "IntegratedApp web has port a of one and function b of two on port 15000; set functions[].port, or container.ports[].port, of one of them to a free one"
    );
    let found = plan(&[("one", function("a", 15000)), ("two", foreign("b", 15020))]);
    assert_eq!(
        found.unwrap_err().to_string(),
        "IntegratedApp web has the admin server of one-a and port b of two on port 15020; set functions[].port, or container.ports[].port, of one of them to a free one"
    );
    let apart = [
        ("one", foreign("a", 15000)),
        ("two", shared("b", 15000)),
        ("three", shared("c", 15000)),
    ];
    assert!(plan(&apart).is_ok());
}

#[test]
fn only_slots_take_admin_ports() {
    let plan = plan(&[("one", foreign("a", 15020)), ("two", shared("b", 15000))]);
    assert!(plan.is_ok());
}

#[test]
fn all_functions_of_a_shared_sidecar_need_ports_of_their_own_though_none_is_used() {
    let clash = |ports: [u16; 2]| {
        let spec = json!({
            "sharing": "Namespace",
            "functions": [
                {"name": "a", "port": ports[0], "custom": {}},
                {"name": "b", "port": ports[1], "custom": {}},
            ],
        });
        refused(
            &json!([{"name": "one", "functions": ["a"]}]),
            &[("one", spec)],
        )
    };
    assert_eq!(
        clash([15000, 15000]),
        (
            "IntegrationSidecar one has function a and function b on port 15000; set functions[].port to a free one".into(),
            "FunctionConflict"
        )
    );
    assert_eq!(
        clash([15000, 15021]).0,
        "IntegrationSidecar one has the admin server of one-b and function b on port 15021; set functions[].port to a free one"
    );
}

#[test]
fn containers_of_two_sidecars_have_two_names() {
    let found = plan(&[
        ("one", function("x", 15000)),
        ("one-a", foreign("y", 15001)),
    ]);
    let found = found.unwrap_err();
    assert_eq!(
        (found.to_string().as_str(), found.reason()),
        (
            "IntegratedApp web uses IntegrationSidecar one and IntegrationSidecar one-a; both would have a container \"one-a\" in the pod, so name one of them otherwise",
            "FunctionConflict"
        )
    );
    let apart = [("one", shared("x", 15000)), ("one-a", foreign("y", 15001))];
    assert!(plan(&apart).is_ok());
}

#[test]
fn an_image_without_functions_takes_nothing_that_is_said_of_functions() {
    for (field, value) in [
        ("functions", json!(["x"])),
        ("parameters", json!([{"function": "x", "custom": {}}])),
        ("unixSocket", json!({"mountInto": ["web"]})),
    ] {
        let mut usage = json!({"name": "proxy"});
        usage[field] = value;
        assert_eq!(
            refused(&json!([usage]), &[("proxy", foreign("x", 15000))]),
            (
                format!(
                    "IntegratedApp web sidecars[0].{field} is set; IntegrationSidecar proxy runs an image that is not built on the chassis (its spec.container is set) and has no functions, so sidecars[0].{field} must be absent"
                ),
                "InvalidParameters"
            )
        );
    }
}

#[test]
fn functions_elsewhere_have_no_sockets_in_the_pod() {
    let usage = json!([{"name": "common", "unixSocket": {"mountInto": ["web"]}}]);
    assert_eq!(
        refused(&usage, &[("common", shared("x", 15000))]),
        (
            "IntegratedApp web sidecars[0].unixSocket is set; the functions of IntegrationSidecar common are not in the pod (its spec.sharing is Node), so it must be absent, or sharing must be Pod".into(),
            "InvalidParameters"
        )
    );
}

#[test]
fn parameters_are_of_the_kind_of_their_function() {
    let idempotency = json!({
        "functions": [{"name": "x", "idempotency": {"keyFields": ["/id"]}}],
    });
    let usage = |parameters: Value| {
        let mut parameters = parameters;
        parameters["function"] = "x".into();
        json!([{"name": "one", "parameters": [parameters]}])
    };
    assert_eq!(
        refused(&usage(json!({"custom": {}})), &[("one", idempotency)]),
        (
            "IntegratedApp web sidecars[0].parameters[x] gives custom; that function of IntegrationSidecar one is of kind idempotency, so give idempotency instead".into(),
            "InvalidParameters"
        )
    );
    assert_eq!(
        refused(
            &usage(json!({"idempotency": {"keyFields": ["/id"]}})),
            &[("one", function("x", 15000))]
        )
        .0,
        "IntegratedApp web sidecars[0].parameters[x] gives idempotency; that function of IntegrationSidecar one is of kind custom, so give custom instead"
    );
}

#[test]
fn unix_sockets_are_for_the_named_containers() {
    let usage = json!([{"name": "one", "unixSocket": {"mountInto": ["web", "batch"]}}]);
    let plan = plan_for("web", &usage, &[("one", function("x", 15000))]).unwrap();
    let Form::Slots(slots) = &plan.sidecars[0].form else {
        panic!("{plan:?}");
    };
    let containers: Vec<_> = slots.socket_containers.iter().collect();
    assert_eq!(containers, ["batch", "web"]);
}

fn common(more: &Value) -> Value {
    let mut spec = json!({
        "sharing": "Node",
        "functions": [
            {"name": "a", "port": 15000, "custom": {}, "configFrom": [{"secretRef": {"name": "s"}}]},
            {"name": "b", "port": 15001, "custom": {}, "configFrom": [{"secretRef": {"name": "t"}}]},
        ],
    });
    for (field, value) in more.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

fn tenant(application: &str, functions: &Value) -> ApplicationPlan {
    let usage = json!([{"name": "common", "functions": functions}]);
    plan_for(application, &usage, &[("common", common(&json!({})))]).unwrap()
}

fn shared_plan(more: &Value, plans: &[ApplicationPlan], kept: Vec<TenantDocument>) -> SharedPlan {
    SharedPlan::new(&sidecar("common", &common(more)), plans, kept).unwrap()
}

fn names(plan: &SharedPlan) -> Vec<&str> {
    let tenants = plan.document.tenants.iter();
    tenants
        .map(|tenant| tenant.document.application.name.as_str())
        .collect()
}

#[test]
fn function_pods_have_all_functions_and_secrets_whoever_uses_which() {
    let plan = shared_plan(&json!({}), &[tenant("web", &json!(["a"]))], Vec::new());
    let ports: Vec<_> = plan
        .functions
        .iter()
        .map(|function| function.port)
        .collect();
    assert_eq!(ports, [15000, 15001]);
    assert_eq!(Vec::from_iter(&plan.secrets), ["s", "t"]);
    assert_eq!(plan.admin, PerSlot { a: 15020, b: 15021 });
    let functions = &plan.document.tenants[0].document.functions;
    assert_eq!(functions.len(), 1, "the application reaches those it uses");
}

#[test]
fn the_order_in_which_applications_come_means_nothing() {
    let (web, batch) = (tenant("web", &json!(["a"])), tenant("batch", &json!(["b"])));
    let one = shared_plan(&json!({}), &[web.clone(), batch.clone()], Vec::new());
    let other = shared_plan(&json!({}), &[batch.clone(), web], Vec::new());
    assert_eq!(names(&one), ["batch", "web"]);
    assert_eq!(one.document_hash, other.document_hash);
    let alone = shared_plan(&json!({}), &[batch], Vec::new());
    assert_ne!(one.document_hash, alone.document_hash);
}

#[test]
fn an_application_without_a_plan_keeps_its_part_and_one_with_a_plan_does_not() {
    let kept = |name: &str| {
        let former = shared_plan(&json!({}), &[tenant(name, &json!(["b"]))], Vec::new());
        former.document.tenants[0].clone()
    };
    let web = tenant("web", &json!(["a"]));
    let plan = shared_plan(
        &json!({}),
        std::slice::from_ref(&web),
        vec![kept("web"), kept("gone")],
    );
    assert_eq!(names(&plan), ["gone", "web"]);
    let used: Vec<&Document> = plan
        .document
        .tenants
        .iter()
        .map(|found| &found.document)
        .collect();
    assert_eq!(used[0].functions[0].name, "b");
    assert_eq!(Some(used[1]), web.sidecars[0].document());
}

#[test]
fn each_application_may_use_what_the_sidecar_says_and_100_requests_at_once_by_default() {
    let limits = |limits: Value| {
        let web = tenant("web", &json!(["a"]));
        let plan = shared_plan(&json!({"tenantLimits": limits}), &[web], Vec::new());
        serde_json::to_value(&plan.document.tenants[0].limits).unwrap()
    };
    assert_eq!(limits(Value::Null), json!({"maxConcurrentRequests": 100}));
    assert_eq!(
        limits(json!({
            "maxBodyBytes": 5_000_000_000_i64, "maxConcurrentRequests": 3, "requestsPerSecond": 7,
        })),
        json!({
            "maxBodyBytes": 5_000_000_000_i64, "maxConcurrentRequests": 3, "requestsPerSecond": 7,
        })
    );
}

#[test]
fn an_application_that_does_not_use_the_sidecar_has_no_part() {
    let other = plan(&[("other", shared("x", 15000))]).unwrap();
    let plan = shared_plan(&json!({}), &[other], Vec::new());
    assert!(plan.document.tenants.is_empty());
}

#[test]
fn a_part_that_has_no_room_gives_way_to_its_former_one() {
    let web = tenant("web", &json!(["a"]));
    let parameters = json!({"text": "x".repeat(MOST_DOCUMENT_BYTES)});
    let usage = json!([{"name": "common", "functions": ["a"], "parameters": [{"function": "a", "custom": parameters}]}]);
    let large = plan_for("batch", &usage, &[("common", common(&json!({})))]).unwrap();
    let plan = shared_plan(&json!({}), &[web.clone(), large.clone()], Vec::new());
    assert_eq!(names(&plan), ["web"]);
    assert_eq!(plan.left_out[0].application, "batch");
    assert!(plan.left_out[0].bytes > MOST_DOCUMENT_BYTES && !plan.left_out[0].goes_on);

    let former = tenant("batch", &json!(["b"]));
    let kept = shared_plan(&json!({}), &[former], Vec::new())
        .document
        .tenants;
    let plan = shared_plan(&json!({}), &[web, large], kept.clone());
    assert_eq!(names(&plan), ["batch", "web"]);
    assert_eq!(plan.document.tenants[0], kept[0]);
    assert!(plan.left_out[0].goes_on);
}
