//! What is asked of a real API server by `make test-fake`.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::convert::Infallible;
use std::path::Path;

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use outrigger_api_server::ApiServer;
use outrigger_faults::{Recording, replay};
use serde_json::{Value, json};

fn recordings() -> Vec<Recording> {
    Recording::read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recordings")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_is_answered_in_memory_as_it_was() {
    for recording in recordings() {
        let second = ApiServer::default().client();
        let differences = replay(&recording, &second).await.unwrap();
        assert!(differences.is_empty(), "{}", differences.join("\n\n"));
    }
}

#[tokio::test]
async fn a_server_that_answers_otherwise_is_found_out() {
    let recording = Recording {
        name: "a pod is created".to_owned(),
        steps: vec![json!({
            "method": "POST", "uri": "/api/v1/namespaces/store/pods", "status": 201,
            "contentType": "application/json",
            "body": {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": "web:1"}]}},
        })],
    };
    let changing = ApiServer::default();
    changing.admit(|mut pod| {
        pod["spec"]["containers"][0]["image"] = "web:2".into();
        pod
    });
    let failing = ApiServer::default();
    failing.fail(1);
    for (server, what) in [
        (changing, "another spec.containers.0.image"),
        (failing, "another status"),
    ] {
        let found = replay(&recording, &server.client()).await.unwrap();
        assert!(found.len() == 1 && found[0].contains(what), "{found:?}");
        assert!(
            found[0].contains("web:1") && found[0].contains("real:"),
            "{found:?}"
        );
    }
}

/// A server that has one answer to all requests.
fn answering(status: u16, body: &Value) -> Client {
    let body = body.to_string();
    let service = tower::service_fn(move |_: Request<Body>| {
        let answer = Response::builder().status(status);
        let answer = answer.body(Body::from(body.clone().into_bytes())).unwrap();
        async move { Ok::<_, Infallible>(answer) }
    });
    Client::new(service, "default")
}

#[tokio::test]
async fn a_watch_that_is_refused_for_another_reason_is_found_out() {
    let recording = Recording {
        name: "nobody is watched".to_owned(),
        steps: vec![json!({
            "method": "GET", "uri": "/api/v1/namespaces/store/secrets/nobody?watch=true",
            "status": 404,
        })],
    };
    for (reason, count) in [("NotFound", 0), ("Gone", 1)] {
        let status = json!({"kind": "Status", "code": 404, "reason": reason});
        let found = replay(&recording, &answering(404, &status)).await.unwrap();
        assert_eq!(found.len(), count, "{found:?}");
        assert!(
            found.iter().all(|found| found.contains("another reason")),
            "{found:?}"
        );
    }
}
