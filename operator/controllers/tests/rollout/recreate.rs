//! Pods are evicted so that their successors get a new image.

use outrigger_api_server::ApiServer;
use serde_json::Value;

use crate::node::Node;
use crate::replica::Replica;
use crate::shop::{POD, is_updated, owners, put_pod, recreating, says, set_image};
use crate::webhook::with_webhook;

fn evictions(api: &ApiServer) -> usize {
    let writes = api.writes();
    writes
        .iter()
        .filter(|line| line.ends_with("/eviction"))
        .count()
}

/// The first image in the pod, with what keeps the cluster and the operator going.
async fn operated(api: &ApiServer, address: &str) -> (Node, Replica) {
    let running = (Node::start(api, address).await, Replica::lead(api.client()));
    is_updated(api, "sidecar:1").await;
    running
}

/// What the rollout waits for.
async fn waits(api: &ApiServer) -> Value {
    says(api, "Waiting").await["conditions"][0]["message"].clone()
}

#[tokio::test]
async fn a_pod_goes_when_its_successor_was_tried() {
    let api = recreating(true);
    let _operated = operated(&api, "127.0.7.60").await;
    set_image(&api, "sidecar:2");
    api.until(POD, |found| found.is_none()).await;
    put_pod(&api, owners(&api));
    is_updated(&api, "sidecar:2").await;
    assert_eq!(evictions(&api), 1);
}

#[tokio::test]
async fn no_pod_goes_whose_successor_would_be_refused() {
    let api = recreating(true);
    let _operated = operated(&api, "127.0.7.61").await;
    api.forbid("\"generateName\":\"web-\"");
    set_image(&api, "sidecar:2");
    assert_eq!(
        waits(&api).await,
        "pod web: a pod like its successor, which was only tried, was refused: Forbidden; 0 of 1 pods have sidecar:2"
    );
    assert_eq!(evictions(&api), 0);
}

#[tokio::test]
async fn no_pod_goes_whose_successor_would_have_the_label_alone() {
    let api = recreating(false);
    let _operated = operated(&api, "127.0.7.63").await;
    api.admit(|mut pod| {
        pod["metadata"]["labels"]["outrigger.dev/app"] = "shop".into();
        pod
    });
    set_image(&api, "sidecar:2");
    assert_eq!(
        waits(&api).await,
        "pod web: a pod like its successor, which was only tried, came back without its sidecars: the admission webhook is away, or does not know it; 0 of 1 pods have sidecar:2"
    );
    assert_eq!(evictions(&api), 0);
}

#[tokio::test]
async fn no_pod_goes_while_the_webhook_is_away() {
    let api = recreating(false);
    let _operated = operated(&api, "127.0.7.62").await;
    set_image(&api, "sidecar:2");
    assert_eq!(
        waits(&api).await,
        "pod web: a pod like its successor, which was only tried, came back without its sidecars: the admission webhook is away, or does not know it; 0 of 1 pods have sidecar:2"
    );
    assert_eq!(evictions(&api), 0);
    with_webhook(&api);
    api.until(POD, |found| found.is_none()).await;
}
