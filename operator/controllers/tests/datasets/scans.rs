//! Scans of HDFS that go well, and those that do not.

use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::net::TcpListener;

use crate::name_node::{NameNode, Reply};
use crate::namespace::{MIB, Namespace};
use crate::scene::{Scene, dataset_path, message, nodes, on};

/// Six files on four nodes, most of it on node-2.
fn market() -> Namespace {
    Namespace::with(4)
        .file("/market/a", &[(2 * MIB, &[1])])
        .file("/market/b", &[(6 * MIB, &[2]), (4 * MIB, &[2])])
        .file("/market/c", &[(2 * MIB, &[2, 3])])
        .file("/market/d", &[(4 * MIB, &[4])])
        .file("/market/e/f", &[(6 * MIB, &[4])])
        .file("/market/e/g", &[])
}

const WHOLE: &str = "24.0 MiB in 6 files on 4 nodes; node-2 holds most, 12.0 MiB";

/// A server that answers all alike.
async fn answering(reply: fn() -> Reply) -> NameNode {
    NameNode::start(move |_| reply()).await
}

#[tokio::test(start_paused = true)]
async fn where_the_bytes_are_is_told() {
    let (server, _) = market().serve().await;
    let scene = Scene::start();
    scene.hdfs("market", &[&server], &["/market"]);
    let status = scene.says("market", "Succeeded").await;
    assert_eq!(message(&status), WHOLE);
    assert_eq!(status["observedGeneration"], 1);
    assert_eq!(status["conditions"].as_array().unwrap().len(), 1);
    assert_eq!(status["bytes"], 24 * MIB);
    assert_eq!(status["size"], "24.0 MiB");
    assert_eq!(status["bytesOnNoNode"], 0);
    assert_eq!(
        (&status["files"], &status["blocks"], &status["nodeCount"]),
        (&json!(6), &json!(6), &json!(4))
    );
    assert_eq!(
        nodes(&status),
        on([
            ("node-2", 12 * MIB),
            ("node-4", 10 * MIB),
            ("node-1", 2 * MIB),
            ("node-3", 2 * MIB)
        ])
    );
    assert!(status["fingerprint"].is_string() && status["since"].is_string());
    let found = scene.api.get(&dataset_path("market")).unwrap();
    assert!(found["metadata"]["finalizers"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_name_node_that_is_away_is_asked_again_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let scene = Scene::start();
    let url = format!("http://{address}");
    scene.put_hdfs("market", json!({"nameNodes": [url], "paths": ["/market"]}));
    let status = scene.says("market", "NameNodeUnavailable").await;
    assert!(
        message(&status).starts_with(&format!("no NameNode answers: {url} cannot be reached")),
        "{status}"
    );
    assert_eq!(status["conditions"][1]["type"], "Reconciling");
    assert!(status["bytes"].is_null());
    let (server, _) = market().serve().await;
    scene.edit(&dataset_path("market"), |found| {
        found["spec"]["hdfs"]["nameNodes"] = json!([url, server.url()]);
    });
    assert_eq!(scene.message("market", "Succeeded").await, WHOLE);
}

#[tokio::test(start_paused = true)]
async fn what_was_found_stays_while_nobody_answers() {
    let (server, shared) = market().serve().await;
    let scene = Scene::start();
    scene.hdfs("market", &[&server], &["/market"]);
    let before = scene.says("market", "Succeeded").await;
    shared.lock().state = "standby".to_owned();
    let status = scene.says("market", "NameNodeUnavailable").await;
    assert!(
        message(&status).ends_with(&format!("what was found before stays in effect: {WHOLE}")),
        "{status}"
    );
    for field in ["bytes", "nodes", "fingerprint", "since", "files"] {
        assert_eq!(status[field], before[field], "{field}");
    }
    shared.lock().state = "active".to_owned();
    let status = scene.says("market", "Succeeded").await;
    assert_eq!(status["since"], before["since"]);
}

#[tokio::test(start_paused = true)]
async fn the_active_one_of_a_pair_is_followed() {
    let (first, one) = market().serve().await;
    let (second, other) = market().serve().await;
    one.lock().state = "standby".to_owned();
    let scene = Scene::start();
    scene.hdfs("market", &[&first, &second], &["/market"]);
    assert_eq!(scene.message("market", "Succeeded").await, WHOLE);
    one.lock().state = "active".to_owned();
    one.lock().put("/market/h", &[(MIB, &[1])]);
    other.lock().state = "standby".to_owned();
    let more = "25.0 MiB in 7 files on 4 nodes; node-2 holds most, 12.0 MiB";
    scene.tells("market", more).await;
}

#[tokio::test(start_paused = true)]
async fn a_name_node_in_safe_mode_is_waited_for() {
    let (server, shared) = market()
        .serve_with(|ask| {
            let refused = ask.operation.ends_with("LOCATIONS") && ask.path == "/market/a";
            let message = "Zero blocklocations for /market/a. Name node is in safe mode.";
            refused.then(|| Reply::exception(403, "SafeModeException", message))
        })
        .await;
    shared.lock().safe_mode = "Safe mode is ON.".to_owned();
    let scene = Scene::start();
    scene.hdfs("market", &[&server], &["/market"]);
    let status = scene.says("market", "NameNodeUnavailable").await;
    assert!(message(&status).contains("safe mode"), "{status}");
    assert!(status["bytes"].is_null(), "{status}");
    assert_eq!(status["problems"][0]["name"], "/market");
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_none_are_quoted() {
    let html = || {
        let page = Response::builder()
            .header("content-type", "text/html")
            .body(Full::from("<html>secret</html>"));
        Reply::Raw(page.unwrap())
    };
    let elsewhere = || {
        let moved = Response::builder()
            .status(307)
            .header("location", "http://10.0.0.1/secret")
            .body(Full::default());
        Reply::Raw(moved.unwrap())
    };
    let scene = Scene::start();
    for (name, server, expected) in [
        ("html", answering(html).await, "instead of JSON"),
        (
            "elsewhere",
            answering(elsewhere).await,
            "redirects are not followed",
        ),
        (
            "slow",
            answering(|| Reply::Never).await,
            "did not answer within 10 s",
        ),
    ] {
        scene.hdfs(name, &[&server], &["/market"]);
        let status = scene.says(name, "NameNodeUnavailable").await;
        assert!(message(&status).contains(expected), "{name}: {status}");
        assert!(!status.to_string().contains("<html>"), "{name}: {status}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_ten_megabytes_is_not_read() {
    let (server, _) = market()
        .serve_with(|ask| {
            let large = ask.operation.starts_with("LISTSTATUS");
            large.then(|| Reply::Json(200, " ".repeat(10 << 20)))
        })
        .await;
    let scene = Scene::start();
    scene.hdfs("market", &[&server], &["/market"]);
    let message = scene.message("market", "NameNodeUnavailable").await;
    assert!(message.contains("an answer is larger than"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_missing_leaves_the_others() {
    let (server, shared) = market().serve().await;
    let scene = Scene::start();
    scene.hdfs("market", &[&server], &["/nowhere", "/market"]);
    let status = scene.says("market", "PathUnreadable").await;
    assert_eq!(
        message(&status),
        format!("path /nowhere does not exist; {WHOLE}")
    );
    assert_eq!(status["conditions"][1]["type"], "Stalled");
    assert_eq!(
        status["problems"],
        json!([{"name": "/nowhere", "message": "path /nowhere does not exist"}])
    );
    shared.lock().put("/nowhere", &[(MIB, &[1])]);
    let status = scene.says("market", "Succeeded").await;
    assert!(status["problems"].is_null(), "{status}");
    assert_eq!(status["bytes"], 25 * MIB);
}

#[tokio::test(start_paused = true)]
async fn paths_with_any_letters_are_asked_for_as_they_are() {
    let odd = "/a b/+100%/x:y/ü";
    let (server, _) = Namespace::with(4).file(odd, &[(MIB, &[3])]).serve().await;
    let scene = Scene::start();
    scene.hdfs("odd", &[&server], &[odd]);
    let message = scene.message("odd", "Succeeded").await;
    assert_eq!(message, "1.0 MiB in 1 file on node-3");
}

#[tokio::test(start_paused = true)]
async fn empty_paths_and_files_hold_nothing() {
    let mut namespace = Namespace::with(4).file("/empty/file", &[]);
    namespace.directories.push("/nothing".to_owned());
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    scene.hdfs("empty", &[&server], &["/nothing", "/empty"]);
    let status = scene.says("empty", "Succeeded").await;
    assert_eq!(message(&status), "no bytes in 1 file");
    assert_eq!(
        (&status["bytes"], &status["nodeCount"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test(start_paused = true)]
async fn erasure_coded_and_open_files_are_told_of() {
    let mut namespace = Namespace::with(4).file("/data/plain", &[(MIB, &[1])]);
    namespace
        .put("/data/coded", &[(2 * MIB, &[1, 2, 3])])
        .erasure_coded = true;
    namespace.put("/data/open", &[(MIB, &[2])]).open = true;
    let (server, _) = namespace.serve().await;
    let scene = Scene::start();
    scene.hdfs("data", &[&server], &["/data"]);
    let status = scene.says("data", "Succeeded").await;
    let told = message(&status);
    assert!(
        told.contains("2.0 MiB are erasure-coded") && told.contains("1 file is being written"),
        "{told}"
    );
    assert_eq!(status["bytesOnNoNode"], 2 * MIB);
    assert_eq!(nodes(&status), on([("node-1", MIB), ("node-2", MIB)]));
}

#[tokio::test(start_paused = true)]
async fn too_many_files_are_not_asked_about() {
    let (server, _) = market().serve().await;
    let scene = Scene::start();
    let spec = json!({"nameNodes": [server.url()], "paths": ["/market"], "maxFiles": 3});
    scene.put_hdfs("market", spec);
    let status = scene.says("market", "TooManyFiles").await;
    assert!(message(&status).contains("6 files"), "{status}");
    let asked = server.operations();
    assert_eq!(asked.get("GETFILEBLOCKLOCATIONS"), None, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn refused_addresses_are_not_connected_to() {
    let scene = Scene::start();
    for (name, host, kind) in [
        ("metadata", "169.254.169.254", "a link-local address"),
        ("api", "10.96.0.1", "an address of the API server"),
        ("loopback", "[::1]", "a loopback address"),
    ] {
        let url = format!("http://{host}:9870");
        scene.put_hdfs(name, json!({"nameNodes": [url], "paths": ["/"]}));
        let status = scene.says(name, "AddressRefused").await;
        assert!(message(&status).contains(kind), "{status}");
        assert_eq!(status["conditions"][1]["type"], "Stalled");
    }
}

#[tokio::test(start_paused = true)]
async fn authorities_that_are_not_there_are_named() {
    let (server, _) = market().serve().await;
    let scene = Scene::start();
    let spec = json!({
        "nameNodes": [server.url()], "paths": ["/market"],
        "tls": {"caConfigMapRef": {"name": "hdfs-ca"}},
    });
    scene.put_hdfs("market", spec);
    let expected = "hdfs.tls.caConfigMapRef names ConfigMap \"hdfs-ca\", which does not exist; allowed is a ConfigMap of namespace risk with the authorities to trust in its key ca.crt";
    assert_eq!(scene.message("market", "ConfigMapNotFound").await, expected);
    let path = "/api/v1/namespaces/risk/configmaps/hdfs-ca";
    scene.api.put(path, json!({"data": {"ca.crt": "nonsense"}}));
    let message = scene.message("market", "InvalidParameters").await;
    assert!(
        message.contains("the certificate authorities cannot be used"),
        "{message}"
    );
}

#[tokio::test(start_paused = true)]
async fn two_sources_in_one_dataset_are_refused() {
    let (server, _) = market().serve().await;
    let scene = Scene::start();
    scene.put(
        "both",
        json!({
            "hdfs": {"nameNodes": [server.url()], "paths": ["/market"]},
            "persistentVolumeClaims": {"names": ["a"]},
        }),
    );
    assert_eq!(
        scene.message("both", "InvalidParameters").await,
        "exactly one of persistentVolumeClaims and hdfs must be set"
    );
    assert!(server.asked().is_empty());
}
