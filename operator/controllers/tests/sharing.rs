//! Shared sidecars by the controllers, against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod replica;

use outrigger_api_server::ApiServer;
use outrigger_faults::{Faults, Plan};
use serde_json::{Value, json};

use crate::replica::Replica;

const PODS: &str = "/api/v1/namespaces/store/pods/";
const SERVICE: &str = "/api/v1/namespaces/store/services/outrigger-orders";
const DOCUMENTS: &str = "/api/v1/namespaces/store/configmaps/outrigger.shared.orders.all";
const SIDECAR: &str = "/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/orders";

/// Applications `shop` and `bank` that share sidecar `orders` on each node.
fn scene() -> ApiServer {
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
fn put_consumer(api: &ApiServer, name: &str, application: &str, node: &str, address: &str) {
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

fn is_function_pod(pod: &Value) -> bool {
    pod["metadata"]["labels"]["outrigger.dev/shared-sidecar"] == "orders"
}

fn tenants(pod: &Value) -> Value {
    let text = pod["metadata"]["annotations"]["outrigger.dev/tenants-orders"].as_str();
    serde_json::from_str::<Value>(text.unwrap()).unwrap()["addresses"].clone()
}

fn node(pod: &Value) -> String {
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

async fn until_function_pods(api: &ApiServer, wanted: &[(&str, Value)]) {
    let wanted = wanted.iter();
    let wanted: Vec<_> = wanted
        .map(|(node, tenants)| ((*node).to_owned(), tenants.clone()))
        .collect();
    api.until_all(PODS, |pods| function_pods(pods) == wanted)
        .await;
}

#[tokio::test]
async fn two_applications_on_one_node_share_one_function_pod() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
    put_consumer(&api, "b", "bank", "n1", "10.0.0.2");
    put_consumer(&api, "c", "bank", "n2", "10.0.1.1");
    let both = json!({"bank": ["10.0.0.2"], "shop": ["10.0.0.1"]});
    let other = json!({"bank": ["10.0.1.1"]});
    until_function_pods(&api, &[("n1", both), ("n2", other)]).await;
    let service = api.get(SERVICE).unwrap();
    assert_eq!(service["spec"]["internalTrafficPolicy"], "Local");
    let documents = api.get(DOCUMENTS).unwrap();
    let current = documents["metadata"]["annotations"]["outrigger.dev/current"].as_str();
    let text = documents["data"][format!("{}.json", current.unwrap())].as_str();
    let document: Value = serde_json::from_str(text.unwrap()).unwrap();
    let names: Vec<_> = document["tenants"].as_array().unwrap().iter().collect();
    let names: Vec<_> = names
        .iter()
        .map(|tenant| tenant["document"]["application"]["name"].clone())
        .collect();
    assert_eq!(names, ["bank", "shop"]);
}

#[tokio::test(start_paused = true)]
async fn a_function_pod_goes_a_minute_after_its_last_consumer() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
    let left = tokio::time::Instant::now();
    api.delete(&format!("{PODS}s"));
    until_function_pods(&api, &[]).await;
    assert!(left.elapsed().as_secs() >= 60, "{:?}", left.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_nobody_needs_goes_though_another_cannot_be_created() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
    // Like a quota that is full: every new function pod has the holder.
    api.forbid("operator:1");
    put_consumer(&api, "b", "bank", "n2", "10.0.1.1");
    api.delete(&format!("{PODS}s"));
    until_function_pods(&api, &[]).await;
}

#[tokio::test]
async fn function_pods_are_told_though_the_documents_cannot_be_written() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
    api.until(DOCUMENTS, |found| found.is_some()).await;
    let before = api.get(DOCUMENTS);
    api.forbid("outrigger.dev/current");
    let mut sidecar = api.get(SIDECAR).unwrap();
    sidecar["spec"]["tenantLimits"] = json!({"maxConcurrentRequests": 7});
    api.put(SIDECAR, sidecar);
    put_consumer(&api, "b", "bank", "n1", "10.0.0.2");
    let both = json!({"bank": ["10.0.0.2"], "shop": ["10.0.0.1"]});
    until_function_pods(&api, &[("n1", both)]).await;
    assert_eq!(api.get(DOCUMENTS), before);
}

#[tokio::test(start_paused = true)]
async fn objects_of_others_are_neither_taken_over_nor_deleted() {
    let labels = json!({
        "app.kubernetes.io/managed-by": "outrigger", "outrigger.dev/sidecar": "orders",
    });
    for (path, kind, labels) in [
        (SERVICE, "Service", json!({})),
        (SERVICE, "Service", labels.clone()),
        (DOCUMENTS, "ConfigMap", json!({})),
        (DOCUMENTS, "ConfigMap", labels.clone()),
    ] {
        let api = scene();
        let own = json!({"apiVersion": "v1", "kind": kind, "metadata": {"labels": labels}});
        api.put(path, own);
        let before = api.get(path);
        let _leader = Replica::lead(api.client());
        put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
        until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
        api.until(SIDECAR, |found| {
            let status = found.unwrap()["status"].to_string();
            status.contains(kind) && status.contains("exists and is not Outrigger's")
        })
        .await;
        api.delete(&format!("{PODS}s"));
        until_function_pods(&api, &[]).await;
        for name in ["shop", "bank"] {
            api.delete(&format!(
                "/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/{name}"
            ));
        }
        // The other of both is the sidecar's own, and goes.
        let other = if path == SERVICE { DOCUMENTS } else { SERVICE };
        api.until(other, |found| found.is_none()).await;
        assert_eq!(api.get(path), before);
    }
}

#[tokio::test]
async fn the_status_says_how_many_function_pods_serve() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    let numbers = |ready: i32| {
        let wanted = json!({"desired": 1, "ready": ready});
        move |found: Option<&Value>| found.unwrap()["status"]["functionPods"] == wanted
    };
    api.until(SIDECAR, numbers(0)).await;
    let pods = api.under(PODS);
    let mut pod = pods.into_iter().find(is_function_pod).unwrap();
    let path = format!("{PODS}{}", pod["metadata"]["name"].as_str().unwrap());
    pod["status"] = json!({
        "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
    });
    api.put(&path, pod);
    api.until(SIDECAR, numbers(1)).await;
}

#[tokio::test]
async fn the_end_is_the_same_whenever_the_operator_is_killed() {
    let expected = [
        ("n1", json!({"bank": ["10.0.0.2"], "shop": ["10.0.0.1"]})),
        ("n2", json!({"bank": ["10.0.1.1"]})),
    ];
    for writes in 0.. {
        let api = scene();
        put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
        put_consumer(&api, "b", "bank", "n1", "10.0.0.2");
        put_consumer(&api, "c", "bank", "n2", "10.0.1.1");
        let faults = Faults::new(Plan::crash_after(writes));
        let first = Replica::lead(faults.before(api.client()));
        let done = async {
            until_function_pods(&api, &expected).await;
            api.until(SERVICE, |found| found.is_some()).await;
            api.until(DOCUMENTS, |found| found.is_some()).await;
        };
        let killed = tokio::select! {
            () = faults.crashed() => true,
            () = done => false,
        };
        first.kill();
        let _second = Replica::lead(api.client());
        until_function_pods(&api, &expected).await;
        api.until(SERVICE, |found| found.is_some()).await;
        api.until(DOCUMENTS, |found| found.is_some()).await;
        let created = api
            .under(PODS)
            .iter()
            .filter(|pod| is_function_pod(pod))
            .count();
        assert_eq!(created, 2, "killed after {writes} writes");
        if !killed {
            assert!(writes > 3, "killed after {writes} writes at most");
            return;
        }
    }
}
