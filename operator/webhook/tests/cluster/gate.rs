//! Which pods wait for a node near their data.

use outrigger_api::Dataset;
use outrigger_webhook::Verdict;
use serde_json::{Value, json};

use crate::admission::verdict;
use crate::requests::shop_pod;
use crate::store::{Store, application};

const GATE: &str = "outrigger.dev/placement";

/// Application `shop` without sidecars, that reads dataset `market`.
fn reader(locality: Value) -> Store {
    let store = Store::shop();
    let mut application = application(
        "shop",
        "2026-01-01T00:00:00Z",
        json!({
            "selector": {"matchLabels": {"app": "shop"}},
            "data": [{"dataset": "market"}],
            "locality": locality,
        }),
    );
    application.spec.sidecars.clear();
    store.applications.lock().clear();
    store.add(application);
    store
}

fn market(status: Value) -> Dataset {
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "Dataset",
        "metadata": {"name": "market", "namespace": "store", "generation": 2},
        "spec": {"persistentVolumeClaims": {"names": ["market"]}},
        "status": status,
    }))
    .unwrap()
}

async fn admitted(store: &Store, pod: &Value) -> Value {
    let Verdict::Injected { patch, .. } = verdict(store.clone(), pod).await else {
        panic!("not injected");
    };
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, &patch).unwrap();
    assert_eq!(pod["metadata"]["labels"]["outrigger.dev/app"], "shop");
    pod
}

fn waits(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.into_iter().flatten().any(|gate| gate["name"] == GATE)
}

#[tokio::test]
async fn a_pod_waits_if_that_may_bring_it_to_its_data() {
    let ready = |reason: &str| json!([{"type": "Ready", "status": "False", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let mib = 1 << 20;
    for (status, expected) in [
        (Value::Null, true),
        (
            json!({"observedGeneration": 2, "conditions": ready("Scanning")}),
            true,
        ),
        (
            json!({"observedGeneration": 2, "conditions": ready("NameNodeUnavailable")}),
            false,
        ),
        (
            json!({"observedGeneration": 2, "bytes": mib, "nodeCount": 2}),
            true,
        ),
        (
            json!({"observedGeneration": 2, "bytes": mib - 1, "nodeCount": 2}),
            false,
        ),
        (
            json!({"observedGeneration": 2, "bytes": mib, "nodeCount": 0}),
            false,
        ),
        // What was found is about another source.
        (
            json!({"observedGeneration": 1, "bytes": 1, "nodeCount": 2}),
            true,
        ),
    ] {
        let store = reader(Value::Null);
        let dataset = market(status.clone());
        store.datasets.lock().insert("market".into(), dataset);
        let pod = admitted(&store, &shop_pod()).await;
        assert_eq!(waits(&pod), expected, "{status}");
        let again = admitted(&store, &pod).await;
        assert_eq!(again, pod, "a second call changes nothing");
    }
}

#[tokio::test]
async fn a_required_place_is_waited_for_while_the_data_cannot_be_looked_at() {
    let store = reader(json!({"mode": "Required"}));
    let conditions = json!([{"type": "Ready", "status": "False", "reason": "NameNodeUnavailable", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
    let dataset = market(json!({"observedGeneration": 2, "conditions": conditions}));
    store.datasets.lock().insert("market".into(), dataset);
    assert!(waits(&admitted(&store, &shop_pod()).await));
}

#[tokio::test]
async fn no_pod_waits_for_a_dataset_that_does_not_exist() {
    let store = reader(Value::Null);
    let pod = admitted(&store, &shop_pod()).await;
    assert!(!waits(&pod));
}

#[tokio::test]
async fn pods_whose_node_is_settled_do_not_wait() {
    let store = reader(Value::Null);
    store
        .datasets
        .lock()
        .insert("market".into(), market(Value::Null));
    let mut bound = shop_pod();
    bound["spec"]["nodeName"] = "node-1".into();
    let mut of_daemon_set = shop_pod();
    of_daemon_set["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "d", "controller": true,
    }]);
    for pod in [bound, of_daemon_set] {
        assert!(!waits(&admitted(&store, &pod).await), "{pod}");
    }
}
