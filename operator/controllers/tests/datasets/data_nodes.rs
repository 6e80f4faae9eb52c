//! From DataNodes to nodes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use serde_json::json;

use crate::name_node::Reply;
use crate::namespace::{MIB, Namespace};
use crate::scene::{Scene, message, node, node_path, nodes, on};

fn three() -> Namespace {
    Namespace::with(3)
        .file("/data/a", &[(MIB, &[1, 2])])
        .file("/data/b", &[(2 * MIB, &[3])])
}

#[tokio::test(start_paused = true)]
async fn names_are_the_same_in_short_and_in_full_and_in_any_case() {
    let mut namespace = three();
    namespace.data_nodes[0].host = "NODE-1.example.org".to_owned();
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    let status = scene.says("data", "Succeeded").await;
    assert_eq!(
        nodes(&status),
        on([("node-3", 2 * MIB), ("node-1", MIB), ("node-2", MIB)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_data_node_without_a_node_is_named_until_there_is_one() {
    let mut namespace = three();
    namespace.data_nodes[2].host = "worker-9".to_owned();
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    let status = scene.says("data", "DataNodeUnknown").await;
    assert_eq!(status["unknownDataNodes"], json!(["worker-9:9866"]));
    assert_eq!(status["bytesOnNoNode"], 2 * MIB);
    assert!(
        message(&status).starts_with(
            "DataNode worker-9:9866 leads to no Kubernetes node; what it holds counts as on no node"
        ),
        "{status}"
    );
    scene.api.put(&node_path("worker-9"), node(true));
    let status = scene.says("data", "Succeeded").await;
    assert!(status["unknownDataNodes"].is_null(), "{status}");
    assert_eq!(nodes(&status)[0], ("worker-9".to_owned(), 2 * MIB));
}

#[tokio::test(start_paused = true)]
async fn a_data_node_that_matches_two_nodes_is_on_neither() {
    let mut namespace = three();
    namespace.data_nodes[2].host = "worker-9".to_owned();
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    for zone in ["a", "b"] {
        let path = node_path(&format!("worker-9.{zone}.example.org"));
        scene.api.put(&path, node(true));
    }
    scene.hdfs("data", &[&server], &["/data"]);
    let status = scene.says("data", "DataNodeUnknown").await;
    assert!(
        message(&status).starts_with("DataNode worker-9:9866 matches the nodes worker-9.a.example.org and worker-9.b.example.org"),
        "{status}"
    );
    assert_eq!(nodes(&status), on([("node-1", MIB), ("node-2", MIB)]));
}

#[tokio::test(start_paused = true)]
async fn data_nodes_in_pods_are_on_the_pods_nodes() {
    let mut namespace = three();
    for (data_node, host) in namespace
        .data_nodes
        .iter_mut()
        .zip(["dn-0", "dn-1", "dn-2"])
    {
        data_node.host = host.to_owned();
    }
    let addresses: Vec<String> = namespace
        .data_nodes
        .iter()
        .map(|dn| dn.ip.clone())
        .collect();
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    for (number, address) in addresses.iter().enumerate() {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "spec": {"nodeName": format!("node-{}", 4 - number), "containers": []},
            "status": {"phase": "Running", "podIP": address},
        });
        let path = format!("/api/v1/namespaces/hdfs/pods/dn-{number}");
        scene.api.put(&path, pod);
    }
    let spec = json!({
        "nameNodes": [server.url()], "paths": ["/data"], "nodeNames": {"from": "Pod"},
    });
    scene.put_hdfs("data", spec);
    let status = scene.says("data", "Succeeded").await;
    assert_eq!(
        nodes(&status),
        on([("node-2", 2 * MIB), ("node-3", MIB), ("node-4", MIB)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_label_of_nodes_may_name_the_hosts() {
    let mut namespace = three();
    for (data_node, host) in namespace.data_nodes.iter_mut().zip(["r1", "r2", "r3"]) {
        data_node.host = host.to_owned();
    }
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    for (name, host) in [("node-1", "r3"), ("node-2", "r2"), ("node-3", "R1")] {
        scene.edit(&node_path(name), |found| {
            found["metadata"]["labels"] = json!({"example.org/host": host});
        });
    }
    let names = json!({"from": "Label", "label": "example.org/host"});
    let spec = json!({"nameNodes": [server.url()], "paths": ["/data"], "nodeNames": names});
    scene.put_hdfs("data", spec);
    let status = scene.says("data", "Succeeded").await;
    assert_eq!(
        nodes(&status),
        on([("node-1", 2 * MIB), ("node-2", MIB), ("node-3", MIB)])
    );
}

#[tokio::test(start_paused = true)]
async fn a_killed_data_node_that_the_name_node_still_names_does_not_count() {
    let (server, shared) = three().serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.says("data", "Succeeded").await;
    shared.lock().data_nodes[1].live = false;
    let told = "3.0 MiB in 2 files on 2 nodes; node-3 holds most, 2.0 MiB";
    scene.tells("data", told).await;
    shared.lock().data_nodes[1].live = true;
    let told = "3.0 MiB in 2 files on 3 nodes; node-3 holds most, 2.0 MiB";
    scene.tells("data", told).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_found_before_does_not_count_on_data_nodes_that_died_since() {
    let broken = Arc::new(AtomicBool::default());
    let breaks = Arc::clone(&broken);
    let (server, shared) = three()
        .serve_with(move |ask| {
            let breaks = breaks.load(Relaxed) && ask.operation.starts_with("LISTSTATUS");
            breaks.then(|| Reply::exception(403, "IOException", "disk on fire"))
        })
        .await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.says("data", "Succeeded").await;
    broken.store(true, Relaxed);
    shared.lock().data_nodes[2].live = false;
    let status = scene.says("data", "NameNodeUnavailable").await;
    assert!(message(&status).contains("disk on fire"), "{status}");
    assert_eq!(nodes(&status), on([("node-1", MIB), ("node-2", MIB)]));
    assert_eq!(status["bytes"], 3 * MIB);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_not_ready_does_not_count_and_comes_back_without_a_scan() {
    let (server, _) = three().serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    scene.edit(&crate::scene::dataset_path("data"), |found| {
        found["spec"]["refresh"] = json!({"intervalSeconds": 86_400});
    });
    scene.says("data", "Succeeded").await;
    server.asked();
    scene.set_ready("node-2", false);
    let told = "3.0 MiB in 2 files on 2 nodes; node-3 holds most, 2.0 MiB; node-2 is not ready, and so does not count";
    scene.tells("data", told).await;
    scene.set_ready("node-2", true);
    let told = "3.0 MiB in 2 files on 3 nodes; node-3 holds most, 2.0 MiB";
    scene.tells("data", told).await;
    scene.api.delete(&node_path("node-1"));
    scene.says("data", "DataNodeUnknown").await;
    scene.api.put(&node_path("node-1"), node(true));
    scene.tells("data", told).await;
    assert_eq!(server.asked(), []);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_no_node_holds_are_said_to_be_there() {
    let mut namespace = three();
    for data_node in &mut namespace.data_nodes {
        data_node.live = false;
    }
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    let status = scene.says("data", "Succeeded").await;
    assert_eq!(
        message(&status),
        "3.0 MiB in 2 files, on no node alone; 3.0 MiB have no copy that counts"
    );
    assert_eq!(status["bytesOnNoNode"], 3 * MIB);
}
