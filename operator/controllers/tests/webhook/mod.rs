//! What the webhook makes of pods of application `shop` with sidecar `orders`, for all tests that have
//! an API server in memory.

use k8s_openapi::api::core::v1::Pod;
use outrigger_api_server::ApiServer;
use outrigger_injection::{NamespaceRules, Settings, inject};
use outrigger_plan::{ApplicationPlan, Referenced};
use serde_json::Value;

const KINDS: &str = "/apis/outrigger.dev/v1alpha1/namespaces/store";

/// A pod of the application as the webhook makes it now.
pub(crate) fn injected(api: &ApiServer, mut pod: Value) -> Value {
    let read = |path: &str| api.get(&format!("{KINDS}/{path}")).unwrap();
    let application = serde_json::from_value(read("integratedapps/shop")).unwrap();
    let orders = serde_json::from_value(read("integrationsidecars/orders")).unwrap();
    let mut referenced = Referenced::default();
    referenced.sidecars.insert("orders".into(), orders);
    let plan = ApplicationPlan::new(&application, &referenced).unwrap();
    let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
    let rules = NamespaceRules::default();
    let patch = inject(&typed, &plan, &Settings::default(), &rules, false).unwrap();
    json_patch::patch(&mut pod, &patch).unwrap();
    pod
}

/// From now on, new pods of the application are made as the webhook makes them.
pub(crate) fn with_webhook(api: &ApiServer) {
    let server = api.clone();
    api.admit(
        move |pod| match pod["metadata"]["labels"]["app"] == "shop" {
            true => injected(&server, pod),
            false => pod,
        },
    );
}
