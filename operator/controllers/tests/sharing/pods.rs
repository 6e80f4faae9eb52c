//! Function pods, and what they are told.

use std::time::Duration;

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::replica::Replica;
use crate::scene::{
    DOCUMENTS, PODS, SERVICE, SIDECAR, is_function_pod, node, put_consumer, scene,
    until_function_pods,
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
    let left = Instant::now();
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

#[tokio::test(start_paused = true)]
async fn a_pod_that_somebody_else_gave_the_name_of_a_function_pod_is_told_until_it_has_gone() {
    let owner = json!([{
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar", "name": "orders",
        "uid": "of one before",
    }]);
    for metadata in [
        // Without our label nobody hears of it.
        json!({}),
        json!({"labels": {"outrigger.dev/shared-sidecar": "orders"}, "ownerReferences": owner}),
    ] {
        let api = scene();
        let leader = Replica::lead(api.client());
        put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
        let told = [("n1", json!({"shop": ["10.0.0.1"]}))];
        until_function_pods(&api, &told).await;
        leader.kill();
        let pod = api.under(PODS).into_iter().find(is_function_pod).unwrap();
        let name = pod["metadata"]["name"].as_str().unwrap();
        let path = format!("{PODS}{name}");
        api.delete(&path);
        api.put(
            &path,
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}),
        );
        let _leader = Replica::lead(api.client());
        let foreign = format!("pod {name} on node n1 exists and is not Outrigger's");
        api.until(SIDECAR, |found| {
            found.unwrap()["status"].to_string().contains(&foreign)
        })
        .await;
        let tries = || {
            let journal = api.journal();
            let is_try = |write: &&Value| write["body"]["metadata"]["name"] == *name;
            journal.iter().filter(is_try).count()
        };
        let before = tries();
        tokio::time::sleep(Duration::from_secs(600)).await;
        // Ever more seldom.
        assert!(tries() - before < 20, "{}", tries() - before);
        api.delete(&path);
        until_function_pods(&api, &told).await;
    }
}

#[tokio::test]
async fn an_address_that_a_later_pod_has_is_taken_from_its_former_owner_at_once() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    until_function_pods(&api, &[("n1", json!({"shop": ["10.0.0.1"]}))]).await;
    // It uses no function, so nothing else leads to the sidecar.
    let mut other = api.get(&format!("{PODS}s")).unwrap();
    other["metadata"] = json!({"labels": {"outrigger.dev/app": "till"}});
    other["spec"]["containers"][0]["env"] = json!([]);
    other["status"]["startTime"] = "2026-01-01T00:00:00Z".into();
    api.put(&format!("{PODS}t"), other);
    until_function_pods(&api, &[("n1", json!({}))]).await;
}

#[tokio::test(start_paused = true)]
async fn a_port_changes_when_function_pods_serve_on_all_nodes_and_callers_keep_theirs() {
    let api = scene();
    let _leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    put_consumer(&api, "b", "bank", "n2", "10.0.1.1");
    api.until_all(PODS, |pods| {
        pods.iter().filter(|pod| is_function_pod(pod)).count() == 2
    })
    .await;
    let former = serve(&api, |_| true);
    api.until(SERVICE, |found| found.is_some()).await;
    let mut sidecar = api.get(SIDECAR).unwrap();
    sidecar["spec"]["functions"][0]["port"] = 15005.into();
    api.put(SIDECAR, sidecar);
    api.until_all(PODS, |pods| {
        pods.iter().filter(|pod| is_function_pod(pod)).count() == 4
    })
    .await;
    serve(&api, |pod| node(pod) == "n1");
    let numbers = json!({"desired": 2, "ready": 2});
    api.until(SIDECAR, |found| {
        found.unwrap()["status"]["functionPods"] == numbers
    })
    .await;
    assert_eq!(ports(&api), [(15000, 15000)]);
    serve(&api, |_| true);
    api.until_all(PODS, |pods| {
        pods.iter().filter(|pod| is_function_pod(pod)).count() == 2
    })
    .await;
    assert_eq!(ports(&api), [(15005, 15005), (15000, 15005)]);
    let left = api.under(PODS).into_iter().filter(is_function_pod);
    let left: Vec<_> = left.map(|pod| pod["metadata"]["name"].clone()).collect();
    assert!(former.iter().all(|name| !left.contains(name)), "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn function_pods_of_a_former_release_go_on() {
    let api = scene();
    let leader = Replica::lead(api.client());
    put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
    let told = [("n1", json!({"shop": ["10.0.0.1"]}))];
    until_function_pods(&api, &told).await;
    drop(leader);
    let mut pod = api.under(PODS).into_iter().find(is_function_pod).unwrap();
    let path = format!("{PODS}{}", pod["metadata"]["name"].as_str().unwrap());
    let key = "outrigger.dev/shape";
    let labels = pod["metadata"]["labels"].as_object_mut().unwrap();
    let shape = labels.remove(key).unwrap();
    pod["metadata"]["annotations"][key] = shape.clone();
    api.put(&path, pod);
    let _leader = Replica::lead(api.client());
    api.until(&path, |pod| {
        pod.unwrap()["metadata"]["labels"][key] == shape
    })
    .await;
    until_function_pods(&api, &told).await;
}

/// Lets function pods become Ready; the names of all that are.
pub(crate) fn serve(api: &ApiServer, which: impl Fn(&Value) -> bool) -> Vec<Value> {
    let pods = api.under(PODS).into_iter().filter(is_function_pod);
    let pods = pods.filter(|pod| which(pod));
    pods.map(|mut pod| {
        let name = pod["metadata"]["name"].clone();
        pod["status"] = json!({
            "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
        });
        api.put(&format!("{PODS}{}", name.as_str().unwrap()), pod);
        name
    })
    .collect()
}

/// The ports of the Service, and where they lead.
fn ports(api: &ApiServer) -> Vec<(i64, i64)> {
    let service = api.get(SERVICE).unwrap();
    let ports = service["spec"]["ports"].as_array().unwrap().iter();
    ports
        .map(|port| {
            (
                port["port"].as_i64().unwrap(),
                port["targetPort"].as_i64().unwrap(),
            )
        })
        .collect()
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
