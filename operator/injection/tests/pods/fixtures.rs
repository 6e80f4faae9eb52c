use k8s_openapi::api::core::v1::Pod;
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_injection::{NamespaceRules, Refusal, Settings, inject};
use outrigger_plan::{ApplicationPlan, Referenced};
use serde_json::{Value, json};

/// An application with the given `spec.sidecars`, and its IntegrationSidecars.
pub(crate) fn plan_of(uses: Value, sidecars: &[IntegrationSidecar]) -> ApplicationPlan {
    let application: IntegratedApp = serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {"name": "shop", "namespace": "store"},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "sidecars": uses},
    }))
    .unwrap();
    let named = |sidecar: &IntegrationSidecar| sidecar.metadata.name.clone().unwrap();
    let referenced = Referenced {
        sidecars: sidecars
            .iter()
            .map(|sidecar| (named(sidecar), sidecar.clone()))
            .collect(),
        ..Referenced::default()
    };
    ApplicationPlan::new(&application, &referenced).unwrap()
}

/// A sidecar with one function on a port, and more fields of its spec.
pub(crate) fn sidecar(name: &str, function: &str, port: u16, more: Value) -> IntegrationSidecar {
    let mut spec = json!({
        "image": "registry/sidecar:1",
        "functions": [
            {"name": function, "port": port, "idempotency": {"keyFields": ["/id"]}},
        ],
        "store": {"postgresql": {
            "host": "db", "database": "orders", "credentials": {"secretName": "db"},
        }},
    });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "metadata": {"name": name, "namespace": "store"},
        "spec": spec,
    }))
    .unwrap()
}

/// A sidecar with an image that is not built on the chassis.
pub(crate) fn foreign(name: &str, container: &Value, more: &Value) -> IntegrationSidecar {
    let mut spec = json!({"image": "registry/proxy:1", "container": container});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "metadata": {"name": name, "namespace": "store"},
        "spec": spec,
    }))
    .unwrap()
}

/// One sidecar `orders` with function `once` on port 15000.
pub(crate) fn orders() -> ApplicationPlan {
    orders_with(json!({}), json!({}))
}

/// [`orders`], with more fields of the sidecar's spec and of its use.
pub(crate) fn orders_with(spec: Value, usage: Value) -> ApplicationPlan {
    let mut uses = json!({"name": "orders"});
    for (key, value) in usage.as_object().unwrap() {
        uses[key] = value.clone();
    }
    plan_of(json!([uses]), &[sidecar("orders", "once", 15000, spec)])
}

pub(crate) fn pod(value: &Value) -> Pod {
    serde_json::from_value(value.clone()).unwrap()
}

pub(crate) fn injected_under(
    value: &Value,
    plan: &ApplicationPlan,
    rules: &NamespaceRules,
) -> Result<Value, Refusal> {
    patched(value, plan, rules, false)
}

/// As the webhook makes a pod that is to wait for a node near its data.
pub(crate) fn gated(value: &Value, plan: &ApplicationPlan) -> Value {
    patched(value, plan, &NamespaceRules::default(), true).unwrap()
}

fn patched(
    value: &Value,
    plan: &ApplicationPlan,
    rules: &NamespaceRules,
    gated: bool,
) -> Result<Value, Refusal> {
    let patch = inject(&pod(value), plan, &Settings::default(), rules, gated)?;
    let mut patched = value.clone();
    json_patch::patch(&mut patched, &patch).unwrap();
    // What the API server would refuse to read is no pod.
    pod(&patched);
    Ok(patched)
}

pub(crate) fn injected(value: &Value, plan: &ApplicationPlan) -> Result<Value, Refusal> {
    injected_under(value, plan, &NamespaceRules::default())
}

/// A pod as a Deployment makes it.
pub(crate) fn web() -> Value {
    json!({
        "metadata": {"generateName": "web-5d8-", "labels": {"app": "shop"}},
        "spec": {
            "containers": [{
                "name": "web",
                "image": "web:1",
                "env": [{"name": "MODE", "value": "fast"}],
                "ports": [{"containerPort": 8080}],
            }],
        },
    })
}
