//! Datasets of claims.

use serde_json::{Value, json};

use crate::scene::{Scene, message, node, node_path, nodes, on};

const GIB: u64 = 1 << 30;

fn claim_path(name: &str) -> String {
    format!("/api/v1/namespaces/risk/persistentvolumeclaims/{name}")
}

fn volume_path(name: &str) -> String {
    format!("/api/v1/persistentvolumes/{name}")
}

/// A claim of 1 GiB with label `app=positions`.
fn claim(volume: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"labels": {"app": "positions"}},
        "spec": {"volumeName": volume, "resources": {"requests": {"storage": "1Gi"}}},
        "status": {"phase": if volume.is_some() { "Bound" } else { "Pending" }},
    })
}

/// A disk of 2 GiB of a node, or of any that has a label.
fn volume(claim: &str, label: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "spec": {
            "capacity": {"storage": "2Gi"},
            "claimRef": {"namespace": "risk", "name": claim},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{
                "matchExpressions": [{"key": label, "operator": "In", "values": [value]}],
            }]}},
        },
        "status": {"phase": "Bound"},
    })
}

fn label_nodes(scene: &Scene) {
    for (name, zone) in [
        ("node-1", "a"),
        ("node-2", "a"),
        ("node-3", "b"),
        ("node-4", "b"),
    ] {
        scene.edit(&node_path(name), |found| {
            found["metadata"]["labels"] = json!({"kubernetes.io/hostname": name, "zone": zone});
        });
    }
}

/// A claim that is bound to a disk of a node.
fn bind(scene: &Scene, name: &str, on: &str) {
    let disk = format!("pv-{name}");
    let host = "kubernetes.io/hostname";
    scene.api.put(&volume_path(&disk), volume(name, host, on));
    scene.api.put(&claim_path(name), claim(Some(&disk)));
}

/// A Dataset of all claims with label `app=positions`.
fn positions() -> Scene {
    let scene = Scene::start();
    label_nodes(&scene);
    let selector = json!({"matchLabels": {"app": "positions"}});
    scene.put(
        "positions",
        json!({"persistentVolumeClaims": {"selector": selector}}),
    );
    scene
}

#[tokio::test(start_paused = true)]
async fn claims_are_on_the_nodes_of_their_volumes() {
    let scene = positions();
    bind(&scene, "a", "node-1");
    bind(&scene, "b", "node-3");
    let expected = "4.0 GiB in 2 claims on 2 nodes; each holds 2.0 GiB";
    scene.tells("positions", expected).await;
    let status = scene.says("positions", "Succeeded").await;
    assert_eq!(
        nodes(&status),
        on([("node-1", 2 * GIB), ("node-3", 2 * GIB)])
    );
    assert_eq!(status["files"], 2);
    assert!(status["blocks"].is_null());
}

#[tokio::test(start_paused = true)]
async fn claims_come_and_go_with_their_labels() {
    let scene = positions();
    let expected = "no PersistentVolumeClaim of namespace risk has the labels app=positions";
    let told = scene.message("positions", "ClaimNotFound").await;
    assert!(told.starts_with(expected), "{told}");
    bind(&scene, "a", "node-1");
    scene
        .tells("positions", "2.0 GiB in 1 claim on node-1")
        .await;
    scene.edit(&claim_path("a"), |found| {
        found["metadata"]["labels"] = json!({"app": "other"});
    });
    scene.says("positions", "ClaimNotFound").await;
}

#[tokio::test(start_paused = true)]
async fn a_named_claim_that_is_missing_is_told() {
    let scene = Scene::start();
    label_nodes(&scene);
    bind(&scene, "a", "node-2");
    let names = json!({"persistentVolumeClaims": {"names": ["a", "b"]}});
    scene.put("positions", names);
    let status = scene.says("positions", "ClaimNotFound").await;
    assert_eq!(
        message(&status),
        "PersistentVolumeClaim b does not exist in namespace risk; 2.0 GiB in 1 claim on node-2"
    );
    assert_eq!(status["problems"][0]["name"], "b");
    bind(&scene, "b", "node-2");
    scene
        .tells("positions", "4.0 GiB in 2 claims on node-2")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_unbound_claim_is_nowhere_yet() {
    let scene = positions();
    scene.api.put(&claim_path("a"), claim(None));
    let status = scene.says("positions", "ClaimNotBound").await;
    assert!(
        message(&status).starts_with("PersistentVolumeClaim a is not bound to a volume yet"),
        "{status}"
    );
    assert_eq!(status["bytesOnNoNode"], GIB);
    assert_eq!(status["conditions"][1]["type"], "Reconciling");
    bind(&scene, "a", "node-4");
    scene
        .tells("positions", "2.0 GiB in 1 claim on node-4")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_claim_is_told() {
    let scene = positions();
    bind(&scene, "a", "node-1");
    scene.says("positions", "Succeeded").await;
    scene.api.delete(&volume_path("pv-a"));
    scene.edit(&claim_path("a"), |found| {
        found["status"]["phase"] = "Lost".into();
    });
    let status = scene.says("positions", "ClaimLost").await;
    assert!(
        message(&status).starts_with(
            "PersistentVolumeClaim a has lost its volume pv-a: it does not exist any more"
        ),
        "{status}"
    );
    assert_eq!(status["conditions"][1]["type"], "Stalled");
}

#[tokio::test(start_paused = true)]
async fn a_claim_on_a_dead_node_is_told_and_comes_back() {
    let scene = positions();
    bind(&scene, "a", "node-1");
    scene.says("positions", "Succeeded").await;
    scene.set_ready("node-1", false);
    let status = scene.says("positions", "VolumeNodeGone").await;
    assert!(
        message(&status).starts_with(
            "volume pv-a of PersistentVolumeClaim a is on node node-1, which is not ready"
        ),
        "{status}"
    );
    assert_eq!(status["bytesOnNoNode"], 2 * GIB);
    scene.set_ready("node-1", true);
    scene
        .tells("positions", "2.0 GiB in 1 claim on node-1")
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_gone_or_created_anew_has_no_data() {
    let scene = positions();
    bind(&scene, "a", "node-1");
    scene.says("positions", "Succeeded").await;
    scene.api.delete(&node_path("node-1"));
    let status = scene.says("positions", "VolumeNodeGone").await;
    assert!(
        message(&status).starts_with(
            "volume pv-a of PersistentVolumeClaim a is on node node-1, which does not exist"
        ),
        "{status}"
    );
    let mut anew = node(true);
    anew["metadata"] = json!({
        "labels": {"kubernetes.io/hostname": "node-1"},
        "creationTimestamp": "2026-06-01T00:00:00Z",
    });
    scene.api.put(&node_path("node-1"), anew);
    let anew = || {
        let found = scene.api.get(&crate::scene::dataset_path("positions"));
        message(&found.unwrap()["status"]).contains("which was created anew after it")
    };
    scene.until(anew, "that the node is another one").await;
    let status = scene.says("positions", "VolumeNodeGone").await;
    assert_eq!(status["nodeCount"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_network_disk_is_where_it_is_attached_and_otherwise_in_its_zone() {
    let scene = positions();
    scene
        .api
        .put(&volume_path("pv-a"), volume("a", "zone", "b"));
    scene.api.put(&claim_path("a"), claim(Some("pv-a")));
    let zone = "2.0 GiB in 1 claim on 2 nodes; each holds 2.0 GiB";
    scene.tells("positions", zone).await;
    let attachment = "/apis/storage.k8s.io/v1/volumeattachments/att";
    scene.api.put(
        attachment,
        json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "spec": {
                "attacher": "disks", "nodeName": "node-4",
                "source": {"persistentVolumeName": "pv-a"},
            },
            "status": {"attached": true},
        }),
    );
    scene
        .tells("positions", "2.0 GiB in 1 claim on node-4")
        .await;
    scene.api.delete(attachment);
    scene.tells("positions", zone).await;
}
