//! An application with one sidecar and one pod, and a replica of the operator that leads.

use std::collections::BTreeSet;

use outrigger_api_server::ApiServer;
use outrigger_control::{Order, Phase, layout};
use serde_json::{Value, json};

use crate::webhook::{injected, with_webhook};

pub(crate) const APPLICATION: &str =
    "/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/shop";
pub(crate) const SIDECAR: &str =
    "/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/orders";
pub(crate) const POD: &str = "/api/v1/namespaces/store/pods/web";
pub(crate) const REVISIONS: &str = "/apis/apps/v1/namespaces/store/controllerrevisions/";
const REPLICA_SET: &str = "/apis/apps/v1/namespaces/store/replicasets/web";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/store/events/";

/// The objects, without a pod.
pub(crate) fn empty_shop(soak_seconds: u32) -> ApiServer {
    let api = ApiServer::default();
    api.put(
        APPLICATION,
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp",
            "spec": {
                "selector": {"matchLabels": {"app": "shop"}},
                "sidecars": [{"name": "orders"}],
            },
        }),
    );
    api.put(
        SIDECAR,
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
            "spec": {
                "image": "sidecar:1",
                "functions": [{"name": "once", "idempotency": {"keyFields": ["/id"]}}],
                "store": {"postgresql": {
                    "host": "db", "database": "orders", "credentials": {"secretName": "db"},
                }},
                "update": {"soakSeconds": soak_seconds},
            },
        }),
    );
    api
}

/// The objects, with a pod.
pub(crate) fn shop(soak_seconds: u32) -> ApiServer {
    let api = empty_shop(soak_seconds);
    put_pod(&api, Value::Null);
    api
}

/// Creates the pod as the webhook makes it, of a controller if there is one.
pub(crate) fn put_pod(api: &ApiServer, owners: Value) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"labels": {"app": "shop"}, "ownerReferences": owners},
        "spec": {"nodeName": "node-0", "containers": [{"name": "web", "image": "web:1"}]},
    });
    api.put(POD, injected(api, pod));
}

/// Strategy Recreate, and a ReplicaSet with its one pod. What it creates has the sidecar if the
/// webhook is there.
pub(crate) fn recreating(webhook: bool) -> ApiServer {
    let api = empty_shop(0);
    edit(&api, |spec| spec["update"]["strategy"] = "Recreate".into());
    let template = json!({
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "web", "image": "web:1"}]},
    });
    api.put(
        REPLICA_SET,
        json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet",
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": {"app": "shop"}},
                "template": template,
            },
        }),
    );
    put_pod(&api, owners(&api));
    if webhook {
        with_webhook(&api);
    }
    api
}

pub(crate) fn owners(api: &ApiServer) -> Value {
    let uid = api.get(REPLICA_SET).unwrap()["metadata"]["uid"].clone();
    json!([{
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": uid,
        "controller": true,
    }])
}

/// Changes the spec of the sidecar.
pub(crate) fn edit(api: &ApiServer, change: impl FnOnce(&mut Value)) {
    let mut sidecar = api.get(SIDECAR).unwrap();
    change(&mut sidecar["spec"]);
    api.put(SIDECAR, sidecar);
}

pub(crate) fn set_image(api: &ApiServer, image: &str) {
    edit(api, |spec| spec["image"] = image.into());
}

fn order_in(pod: &Value) -> Order {
    let annotation = &pod["metadata"]["annotations"][layout::order_annotation("orders")];
    Order::parse(annotation.as_str().unwrap()).unwrap()
}

pub(crate) fn order(api: &ApiServer) -> Order {
    order_in(&api.get(POD).unwrap())
}

/// Waits until the pod's swap is in a phase.
pub(crate) async fn until_phase(api: &ApiServer, phase: Phase) {
    api.until(POD, |pod| {
        pod.is_some_and(|pod| order_in(pod).phase == phase)
    })
    .await;
}

/// Waits until the sidecar's condition `Ready` has a reason for its newest spec, and returns it.
pub(crate) async fn says(api: &ApiServer, reason: &str) -> Value {
    let says = |found: Option<&Value>| {
        found.is_some_and(|found| {
            let ready = &found["status"]["conditions"][0];
            ready["type"] == "Ready"
                && ready["reason"] == reason
                && ready["observedGeneration"] == found["metadata"]["generation"]
        })
    };
    api.until(SIDECAR, says).await;
    api.get(SIDECAR).unwrap()["status"].clone()
}

/// Waits until both slots of the pod have an image, and the sidecar says so.
pub(crate) async fn is_updated(api: &ApiServer, image: &str) -> Value {
    let updated = |found: Option<&Value>| {
        found.is_some_and(|found| {
            let status = &found["status"];
            status["currentRevision"]["image"] == image
                && status["updateRevision"].is_null()
                && status["conditions"][0]["reason"] == "Succeeded"
        })
    };
    api.until(SIDECAR, updated).await;
    api.get(SIDECAR).unwrap()["status"].clone()
}

/// The images of the pod's slots.
pub(crate) fn images(api: &ApiServer) -> [String; 2] {
    let pod = api.get(POD).unwrap();
    [0, 1].map(|index| {
        let image = &pod["spec"]["initContainers"][index]["image"];
        image.as_str().unwrap().to_owned()
    })
}

/// How often the operator wrote to the pod.
pub(crate) fn patches(api: &ApiServer) -> usize {
    let mut writes = api.writes();
    writes.retain(|line| line == &format!("PATCH {POD}"));
    writes.len()
}

/// Reasons of the events about the sidecar.
pub(crate) fn events(api: &ApiServer) -> BTreeSet<String> {
    let events = api.under(EVENTS);
    let about = events
        .iter()
        .filter(|event| event["regarding"]["kind"] == "IntegrationSidecar");
    about
        .map(|event| event["reason"].as_str().unwrap().to_owned())
        .collect()
}

pub(crate) fn preflights(api: &ApiServer) -> usize {
    let pods = api.under("/api/v1/namespaces/store/pods/");
    pods.iter()
        .filter(|pod| !pod["metadata"]["labels"][layout::PREFLIGHT_LABEL].is_null())
        .count()
}
