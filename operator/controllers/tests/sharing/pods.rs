//! Function pods, and what they are told.

use serde_json::{Value, json};

use crate::replica::Replica;
use crate::scene::{
    DOCUMENTS, PODS, SERVICE, SIDECAR, is_function_pod, put_consumer, scene, until_function_pods,
};

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
