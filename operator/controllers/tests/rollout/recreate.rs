//! Pods are evicted so that their successors get a new image.

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::node::Node;
use crate::replica::Replica;
use crate::shop::{POD, SIDECAR, edit, empty_shop, is_updated, put_pod, says, set_image};

const REPLICA_SET: &str = "/apis/apps/v1/namespaces/store/replicasets/web";

/// Strategy Recreate, and a ReplicaSet with its one pod. What it creates has the application's label
/// if the webhook is there.
fn recreating(webhook: bool) -> ApiServer {
    let api = empty_shop(0);
    edit(&api, |spec| spec["update"]["strategy"] = "Recreate".into());
    let template = json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    });
    api.put(
        REPLICA_SET,
        json!({"spec": {"replicas": 1, "template": template}}),
    );
    put_pod(&api, owners(&api));
    if webhook {
        with_webhook(&api);
    }
    api
}

fn with_webhook(api: &ApiServer) {
    api.admit(|mut pod| {
        if pod["metadata"]["labels"]["app"] == "shop" {
            pod["metadata"]["labels"]["outrigger.dev/app"] = "shop".into();
        }
        pod
    });
}

fn owners(api: &ApiServer) -> Value {
    let uid = api.get(REPLICA_SET).unwrap()["metadata"]["uid"].clone();
    json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid,
        "controller": true,
    }])
}

fn evictions(api: &ApiServer) -> usize {
    let writes = api.writes();
    writes
        .iter()
        .filter(|line| line.ends_with("/eviction"))
        .count()
}

#[tokio::test]
async fn a_pod_goes_when_its_successor_was_tried() {
    let api = recreating(true);
    let _node = Node::start(&api, "127.0.7.60").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    api.until(POD, |found| found.is_none()).await;
    put_pod(&api, owners(&api));
    is_updated(&api, "sidecar:2").await;
    assert_eq!(evictions(&api), 1);
}

#[tokio::test]
async fn no_pod_goes_whose_successor_would_be_refused() {
    let api = recreating(true);
    let _node = Node::start(&api, "127.0.7.61").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    api.forbid("\"generateName\":\"web-\"");
    set_image(&api, "sidecar:2");
    let message = says(&api, "Waiting").await["conditions"][0]["message"].clone();
    assert_eq!(
        message,
        "pod web: a pod like its successor, which was only tried, was refused: Forbidden; 0 of 1 pods have sidecar:2"
    );
    assert_eq!(evictions(&api), 0);
}

#[tokio::test]
async fn no_pod_goes_while_the_webhook_is_away() {
    let api = recreating(false);
    let _node = Node::start(&api, "127.0.7.62").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    let message = says(&api, "Waiting").await["conditions"][0]["message"].clone();
    assert_eq!(
        message,
        "pod web: a pod like its successor, which was only tried, came back without its sidecars: the admission webhook is away, or does not know it; 0 of 1 pods have sidecar:2"
    );
    assert_eq!(evictions(&api), 0);
    with_webhook(&api);
    api.until(POD, |found| found.is_none()).await;
}
