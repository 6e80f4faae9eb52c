//! Two applications that share a sidecar.

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

pub(crate) const PODS: &str = "/api/v1/namespaces/store/pods/";
pub(crate) const SERVICE: &str = "/api/v1/namespaces/store/services/outrigger-orders";
pub(crate) const DOCUMENTS: &str =
    "/api/v1/namespaces/store/configmaps/outrigger.shared.orders.all";
pub(crate) const SIDECAR: &str =
    "/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/orders";

/// Applications `shop` and `bank` that share sidecar `orders` on each node.
pub(crate) fn scene() -> ApiServer {
    let api = ApiServer::default();
    for name in ["shop", "bank"] {
        let path = format!("/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/{name}");
        let spec = json!({
            "selector": {"matchLabels": {"app": name}}, "sidecars": [{"name": "orders"}],
        });
        api.put(
            &path,
            json!({"apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp", "spec": spec}),
        );
    }
    api.put(
        SIDECAR,
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
            "spec": {
                "image": "sidecar:1", "sharing": "Node",
                "functions": [{"name": "once", "custom": {}}],
            },
        }),
    );
    api
}

/// A pod of an application on a node, as the webhook makes it.
pub(crate) fn put_consumer(
    api: &ApiServer,
    name: &str,
    application: &str,
    node: &str,
    address: &str,
) {
    let url = "http://outrigger-orders.store.svc:15000";
    api.put(
        &format!("{PODS}{name}"),
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"labels": {"app": application, "outrigger.dev/app": application}},
            "spec": {"nodeName": node, "containers": [{
                "name": "app", "image": "app:1", "env": [{"name": "OUTRIGGER_ONCE_URL", "value": url}],
            }]},
            "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
        }),
    );
}

pub(crate) fn is_function_pod(pod: &Value) -> bool {
    pod["metadata"]["labels"]["outrigger.dev/shared-sidecar"] == "orders"
}

fn tenants(pod: &Value) -> Value {
    let text = pod["metadata"]["annotations"]["outrigger.dev/tenants-orders"].as_str();
    serde_json::from_str::<Value>(text.unwrap()).unwrap()["addresses"].clone()
}

pub(crate) fn node(pod: &Value) -> String {
    let terms = "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms/0/matchFields/0/values/0";
    pod.pointer(terms).unwrap().as_str().unwrap().to_owned()
}

/// The function pods: node and tenants, sorted.
fn function_pods(pods: &[Value]) -> Vec<(String, Value)> {
    let pods = pods.iter().filter(|pod| is_function_pod(pod));
    let mut found: Vec<_> = pods.map(|pod| (node(pod), tenants(pod))).collect();
    found.sort_by_key(|(node, _)| node.clone());
    found
}

pub(crate) async fn until_function_pods(api: &ApiServer, wanted: &[(&str, Value)]) {
    let wanted = wanted.iter();
    let wanted: Vec<_> = wanted
        .map(|(node, tenants)| ((*node).to_owned(), tenants.clone()))
        .collect();
    api.until_all(PODS, |pods| function_pods(pods) == wanted)
        .await;
}
