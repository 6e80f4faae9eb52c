//! An application whose pods may be evicted, and the ReplicaSet that they are of.

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::leader::{application, application_path, pod, pod_path, sidecar, sidecar_path};
use crate::webhook::injected;

pub(crate) const REPLICA_SET: &str = "/apis/apps/v1/namespaces/store/replicasets/web";

/// Application `shop` whose pods may be evicted, and a ReplicaSet, without pods.
pub(crate) fn evicting(replicas: i32) -> ApiServer {
    let api = ApiServer::default();
    let mut shop = application();
    shop["spec"]["replacement"] = "Evict".into();
    api.put(&application_path("shop"), shop);
    api.put(&sidecar_path("orders"), sidecar());
    let template = json!({"metadata": pod()["metadata"], "spec": pod()["spec"]});
    api.put(
        REPLICA_SET,
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": "shop"}},
                "template": template,
            },
        }),
    );
    api
}

/// A pod of the ReplicaSet, Ready.
pub(crate) fn of_replica_set(api: &ApiServer, mut pod: Value) -> Value {
    let uid = api.get(REPLICA_SET).unwrap()["metadata"]["uid"].clone();
    pod["metadata"]["ownerReferences"] = owner("apps/v1", "ReplicaSet", uid);
    pod["status"] = json!({
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "True"}],
    });
    pod
}

pub(crate) fn owner(api_version: &str, kind: &str, uid: Value) -> Value {
    json!([{
        "apiVersion": api_version, "kind": kind, "name": "web", "uid": uid, "controller": true,
    }])
}

pub(crate) fn put_bare(api: &ApiServer, name: &str) {
    api.put(&pod_path(name), of_replica_set(api, pod()));
}

pub(crate) fn put_right(api: &ApiServer, name: &str) {
    api.put(&pod_path(name), of_replica_set(api, injected(api, pod())));
}

pub(crate) async fn until_gone(api: &ApiServer, name: &str) {
    api.until(&pod_path(name), |found| found.is_none()).await;
}
