//! A sidecar in the middle of a rollout, on an API server in memory.

use outrigger_api_server::ApiServer;
use outrigger_control::layout;
use outrigger_plan::revision_name;
use serde_json::{Value, json};

use super::target::Target;

pub(super) const SIDECAR: &str =
    "/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/orders";

/// Sidecar `orders`: pods have image 1, image 2 has failed, and image 3 is in the spec.
pub(super) fn shop() -> ApiServer {
    let api = ApiServer::default();
    api.put(SIDECAR, sidecar());
    let uid = api.get(SIDECAR).unwrap()["metadata"]["uid"].clone();
    for (number, annotations) in [
        (
            1,
            json!({"outrigger.dev/digest": "sha256:0123456789abcdef"}),
        ),
        (
            2,
            json!({"outrigger.dev/failed": "RevisionFailed: pod web-0: it crashed"}),
        ),
        (3, json!({})),
    ] {
        let image = format!("registry/sidecar:{number}");
        let name = revision_name("orders", &image);
        api.put(
            &format!("/apis/apps/v1/namespaces/store/controllerrevisions/{name}"),
            json!({
                "metadata": {
                    "annotations": annotations,
                    "ownerReferences": [{
                        "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
                        "name": "orders", "uid": uid, "controller": true,
                    }],
                },
                "data": {"image": image},
                "revision": number,
            }),
        );
    }
    api
}

/// A revision works, but for application `till`.
pub(super) fn failed_in_till(api: &ApiServer, number: u32) {
    let name = revision_name("orders", &format!("registry/sidecar:{number}"));
    let path = format!("/apis/apps/v1/namespaces/store/controllerrevisions/{name}");
    let mut revision = api.get(&path).unwrap();
    revision["metadata"]["annotations"] = json!({
        "outrigger.dev/digest": "sha256:0123456789abcdef",
        "outrigger.dev/failed-in": json!({"till": "7.0 % errors"}).to_string(),
    });
    api.put(&path, revision);
}

fn sidecar() -> Value {
    let revision = |image: &str| json!({"name": revision_name("orders", image), "image": image});
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "spec": {"image": "registry/sidecar:3"},
        "status": {
            "observedGeneration": 1,
            "currentRevision": revision("registry/sidecar:1"),
            "updateRevision": revision("registry/sidecar:3"),
            "pods": {"total": 2, "updated": 0, "jobCountsRestarts": 0},
            "swaps": [{"pod": "web-0", "phase": "Soak", "since": "2026-01-01T00:04:30Z"}],
            "conditions": condition("False", "Swapping", "0 of 2 pods have registry/sidecar:3"),
        },
    })
}

pub(super) fn condition(ready: &str, reason: &str, message: &str) -> Value {
    json!([{
        "type": "Ready", "status": ready, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

/// A pod with these images in its slots.
pub(super) fn put_pod(api: &ApiServer, name: &str, images: [&str; 2]) {
    let [a, b] = images.map(|image| revision_name("orders", image));
    let order = json!({
        "v": 1, "term": 1, "active": "a", "config": {"a": "0", "b": "0"},
        "revision": {"a": a, "b": b}, "admin": {"a": 15020, "b": 15021},
        "phase": "Soak", "since": "2026-01-01T00:04:30Z",
    });
    api.put(
        &format!("/api/v1/namespaces/store/pods/{name}"),
        json!({
            "metadata": {
                "labels": {layout::APPLICATION_LABEL: "shop"},
                "annotations": {layout::order_annotation("orders"): order.to_string()},
            },
            "status": {"phase": "Running"},
        }),
    );
}

pub(super) fn target(api: &ApiServer, name: &str) -> Target {
    Target::new(api.client(), "store", name).unwrap()
}
