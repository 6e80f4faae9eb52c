//! A function acts with two credentials, and takes rotated ones under load, by a real slot on
//! loopback.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod pod;

use std::os::unix::fs::symlink;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::routing::post;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use outrigger_control::{Role, Slot};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::pod::Pod;

const CLIENTS: usize = 4;

/// What was sent last: `PATH AUTHORIZATION`, by path.
type Seen = watch::Sender<[String; 2]>;

/// The upstream and the system in one: it answers with what the caller proved.
async fn server() -> (String, Arc<Seen>) {
    async fn record(State(seen): State<Arc<Seen>>, uri: Uri, headers: HeaderMap) -> String {
        let proof = headers["authorization"].to_str().unwrap().to_owned();
        let index = usize::from(uri.path() == "/reports");
        let answer = json!(proof).to_string();
        seen.send_modify(|seen| seen[index] = proof);
        answer
    }
    let seen = Arc::new(Seen::default());
    let router = Router::new()
        .route("/tickets", post(record))
        .route("/reports", post(record))
        .with_state(Arc::clone(&seen));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), seen)
}

/// Writes a token as kubelet does: a new folder, and a link that is turned to it at once.
fn write(pod: &Pod, name: &str, token: &str) {
    let folder = pod.directory("credentials").join(name);
    let version = folder.join(format!("..{token}"));
    std::fs::create_dir_all(&version).unwrap();
    std::fs::write(version.join("token"), token).unwrap();
    symlink(&version, folder.join("..data_tmp")).unwrap();
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).unwrap();
    let _ = symlink("..data/token", folder.join("token"));
}

fn forward(url: &str) -> Pod {
    let parameters = json!({
        "tickets": format!("{url}/tickets"),
        "reports": format!("{url}/reports"),
        "report": {"kind": "Report"},
    });
    Pod::create("forward", env!("CARGO_BIN_EXE_forward"), &parameters)
}

async fn file(client: &Client<HttpConnector, Full<axum::body::Bytes>>, port: u16) -> Value {
    let request = axum::http::Request::post(format!("http://127.0.0.1:{port}/"));
    let request = request.body(Full::from("{}")).unwrap();
    let answer = client.request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotated_credentials_are_used_under_load_without_a_failure_or_a_restart() {
    let (url, seen) = server().await;
    let pod = forward(&url);
    write(&pod, "application", "one");
    write(&pod, "system", "first");
    let _slot = pod.start(Slot::A);
    pod.until(Slot::A, Role::Active);
    let (stop, stopped) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (stopped, port) = (stopped.clone(), pod.port);
        clients.spawn(async move {
            let client = Client::builder(TokioExecutor::new()).build_http();
            let mut filed = 0_u32;
            while !*stopped.borrow() {
                let answer = file(&client, port).await;
                let [ticket, report] =
                    ["ticket", "report"].map(|part| answer[part]["body"].clone());
                assert!(
                    ["Bearer one", "Bearer two"].contains(&ticket.as_str().unwrap()),
                    "{answer}"
                );
                assert!(
                    ["Bearer first", "Bearer second"].contains(&report.as_str().unwrap()),
                    "{answer}"
                );
                filed += 1;
            }
            filed
        });
    }
    let mut used = seen.subscribe();
    used.wait_for(|seen| *seen == ["Bearer one", "Bearer first"])
        .await
        .unwrap();
    write(&pod, "application", "two");
    used.wait_for(|seen| *seen == ["Bearer two", "Bearer first"])
        .await
        .unwrap();
    write(&pod, "system", "second");
    used.wait_for(|seen| *seen == ["Bearer two", "Bearer second"])
        .await
        .unwrap();
    stop.send_replace(true);
    let filed = clients.join_all().await;
    assert!(filed.iter().all(|filed| *filed > 0), "{filed:?}");
    let report = pod.report(Slot::A).unwrap();
    assert_eq!(report.worker_restarts, 0);
    assert_eq!(
        report.traffic.answered,
        u64::from(filed.iter().sum::<u32>())
    );
}

#[tokio::test]
async fn a_slot_waits_for_a_credential_that_is_missing_and_says_which() {
    let pod = forward("http://127.0.0.1:9");
    write(&pod, "application", "one");
    let system = pod.directory("credentials").join("system");
    std::fs::create_dir(&system).unwrap();
    let _slot = pod.start(Slot::A);
    let expected = format!(
        "function forward: credential system waits for the key \"token\" of its Secret in {}; found no keys",
        system.display()
    );
    let says = |report: &outrigger_control::Report| report.not_warm.as_ref() == Some(&expected);
    pod.until_report(Slot::A, says, &expected);
    write(&pod, "system", "first");
    pod.until_report(Slot::A, |report| report.warm, "warm");
}
