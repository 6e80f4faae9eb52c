//! At rest, at a start, and at the end.

use serde_json::json;

use crate::name_node::{NameNode, Reply};
use crate::namespace::{MIB, Namespace};
use crate::scene::{Scene, dataset_path, message};

fn data() -> Namespace {
    Namespace::with(4)
        .file("/data/a", &[(MIB, &[1, 2, 3]), (MIB, &[2, 3, 4])])
        .file("/data/b", &[(MIB, &[4, 1, 2])])
}

/// Waits until at least so many more scans have begun, and returns how many have.
async fn scans(scene: &Scene, server: &NameNode, count: usize) -> usize {
    let begun = std::cell::Cell::new(0);
    let enough = || {
        let jmx = server.operations().remove("JMX");
        begun.set(begun.get() + jmx.unwrap_or_default());
        begun.get() >= count
    };
    scene.until(enough, "so many scans").await;
    begun.get()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_at_rest_whatever_order_the_server_answers_in() {
    // It turns the order of holders with each answer.
    let (server, shared) = data().serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    let before = scene.says("data", "Succeeded").await;
    scans(&scene, &server, 1).await;
    let writes = scene.api.writes().len();
    for round in 0..10 {
        // Of a file that has changed, the blocks are asked for again.
        for file in shared.lock().files.values_mut() {
            file.modified += 1;
        }
        scans(&scene, &server, 1).await;
        assert_eq!(scene.api.writes().len(), writes, "round {round}");
    }
    scans(&scene, &server, 1).await;
    assert_eq!(scene.api.writes().len(), writes);
    let after = scene.api.get(&dataset_path("data")).unwrap();
    assert_eq!(after["status"], before);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_while_the_same_stands_in_the_way() {
    let (server, shared) = data().serve().await;
    shared.lock().state = "standby".to_owned();
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.says("data", "NameNodeUnavailable").await;
    scans(&scene, &server, 2).await;
    let writes = scene.api.writes().len();
    scans(&scene, &server, 3).await;
    assert_eq!(scene.api.writes().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn another_leader_scans_again_and_writes_nothing() {
    let (server, _) = data().serve().await;
    let first = Scene::start();
    first.hdfs("data", &[&server], &["/data"]);
    first.says("data", "Succeeded").await;
    let api = first.api.clone();
    drop(first);
    let writes = api.writes().len();
    server.asked();
    let second = Scene::lead(&api);
    scans(&second, &server, 2).await;
    assert_eq!(api.writes().len(), writes);
}

#[tokio::test(start_paused = true)]
async fn a_changed_spec_is_looked_at_at_once() {
    let (server, _) = data().serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.edit(&dataset_path("data"), |found| {
        found["spec"]["refresh"] = json!({"intervalSeconds": 86_400});
    });
    scene.says("data", "Succeeded").await;
    scene.edit(&dataset_path("data"), |found| {
        found["spec"]["hdfs"]["paths"] = json!(["/data/b"]);
    });
    let told = "1.0 MiB in 1 file on 3 nodes; each holds 1.0 MiB";
    scene.tells("data", told).await;
    let found = scene.api.get(&dataset_path("data")).unwrap();
    assert_eq!(
        found["status"]["observedGeneration"],
        found["metadata"]["generation"]
    );
}

#[tokio::test(start_paused = true)]
async fn scans_that_take_long_keep_no_other_dataset_waiting() {
    let silent = NameNode::start(|_| Reply::Never).await;
    let scene = Scene::start();
    for number in 0..6 {
        scene.hdfs(&format!("slow-{number}"), &[&silent], &["/data"]);
    }
    let mut begun = scans(&scene, &silent, 2).await;
    scene.put(
        "claims",
        json!({"persistentVolumeClaims": {"names": ["none"]}}),
    );
    scene.says("claims", "ClaimNotFound").await;
    begun += silent.asked().len();
    assert_eq!(begun, 2, "scans of a namespace at a time");
    // Another namespace has its turn.
    let (server, _) = data().serve().await;
    let elsewhere = dataset_path("fast").replace("/risk/", "/elsewhere/");
    let dataset = json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": "Dataset",
        "spec": {"hdfs": {"nameNodes": [server.url()], "paths": ["/data"]}},
    });
    scene.api.put(&elsewhere, dataset);
    let succeeded = || {
        let found = scene.api.get(&elsewhere).unwrap();
        found["status"]["conditions"][0]["reason"] == "Succeeded"
    };
    scene.until(succeeded, "a scan of another namespace").await;
    for number in 0..6 {
        let status = scene.says(&format!("slow-{number}"), "Scanning").await;
        assert_eq!(
            message(&status),
            "1 path is being looked at for the first time"
        );
    }
    // A spec that changes does not wait for the scan of the former one.
    scene.hdfs("slow-0", &[&server], &["/data"]);
    scene.says("slow-0", "Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn a_dataset_that_is_deleted_is_asked_about_no_more() {
    let (server, _) = data().serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.hdfs("other", &[&server], &["/data/b"]);
    scene.says("data", "Succeeded").await;
    scene.api.delete(&dataset_path("data"));
    scans(&scene, &server, 4).await;
    let asked = server.asked();
    assert!(asked.iter().all(|ask| ask.path != "/data"), "{asked:?}");
    assert!(scene.api.get(&dataset_path("data")).is_none());
    let events = scene
        .api
        .under("/apis/events.k8s.io/v1/namespaces/risk/events/");
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["regarding"]["name"] == "data")
        .map(|event| (&event["type"], &event["reason"]))
        .collect();
    assert_eq!(told, [(&json!("Normal"), &json!("Succeeded"))]);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_data_is_not_watched() {
    let scene = Scene::start();
    let path = "/apis/outrigger.dev/v1alpha1/namespaces/risk/integratedapps/shop";
    scene.api.put(
        path,
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp",
            "spec": {"selector": {"matchLabels": {"app": "shop"}}},
        }),
    );
    let told = || {
        let found = scene.api.get(path).unwrap();
        found["status"]["conditions"].is_array()
    };
    scene.until(told, "the application's status").await;
    let data = ["/api/v1/nodes", "/api/v1/persistentvolumes"];
    let lists = |scene: &Scene| {
        let lists = scene.api.lists();
        data.iter().all(|path| lists.contains(*path))
    };
    assert!(!lists(&scene));
    scene.put(
        "claims",
        json!({"persistentVolumeClaims": {"names": ["none"]}}),
    );
    scene.says("claims", "ClaimNotFound").await;
    assert!(lists(&scene));
}
