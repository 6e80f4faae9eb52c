//! Deadlines of requests, and the version of the API server.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::Secret;
use kube::api::WatchParams;
use kube::client::{Body, ClientBuilder};
use kube::{Api, Client};
use outrigger_runtime::{ClientMetrics, Deadline, encode, require_version};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::time::{Instant, sleep};

/// An API server that sends its answers piece by piece.
fn server(pieces: Vec<(Duration, String)>, metrics: ClientMetrics) -> Client {
    let service = tower::service_fn(move |_: Request<Body>| {
        let pieces = pieces.clone();
        async move {
            let frames = stream::iter(pieces).then(|(pause, piece)| async move {
                sleep(pause).await;
                Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))
            });
            Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(frames))))
        }
    });
    let deadline = Deadline {
        patience: Duration::from_secs(15),
        metrics,
    };
    ClientBuilder::new(service, "default")
        .with_layer(&deadline)
        .build()
}

fn version(minor: &str) -> String {
    json!({
        "major": "1", "minor": minor, "gitVersion": format!("v1.{minor}.6"), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": "gc", "platform": "",
    })
    .to_string()
}

#[tokio::test]
async fn an_old_api_server_is_refused_by_name() {
    let now = Duration::ZERO;
    let metrics = ClientMetrics::default();
    let old = server(vec![(now, version("33"))], metrics.clone());
    assert_eq!(
        require_version(&old).await.unwrap_err().to_string(),
        "the API server is Kubernetes v1.33.6; Outrigger needs 1.34 or later: upgrade the cluster, or remove Outrigger from it"
    );
    let current = server(vec![(now, version("35"))], metrics);
    assert_eq!(require_version(&current).await.unwrap().to_string(), "1.35");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_or_does_not_end_is_given_up() {
    let minute = Duration::from_secs(60);
    let rest = version("35").split_off(10);
    let first = version("35").replace(&rest, "");
    for pieces in [
        vec![(minute, version("35"))],
        vec![(Duration::ZERO, first), (minute, rest)],
    ] {
        let mut registry = Registry::default();
        let metrics = ClientMetrics::register(&mut registry);
        let begun = Instant::now();
        let error = require_version(&server(pieces, metrics)).await.unwrap_err();
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
        assert!(
            error
                .to_string()
                .contains("no complete answer from the API server within 15 s"),
            "{error}"
        );
        let figures = encode(&registry).unwrap();
        assert!(
            figures.contains("outrigger_api_requests_total{method=\"GET\",status=\"none\"} 1"),
            "{figures}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_goes_on() {
    let event = json!({"type": "ADDED", "object": {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "late"},
    }});
    let pieces = vec![(Duration::from_secs(200), format!("{event}\n"))];
    let secrets = Api::<Secret>::all(server(pieces, ClientMetrics::default()));
    let events = secrets.watch(&WatchParams::default(), "0").await.unwrap();
    let first = std::pin::pin!(events).next().await.unwrap();
    assert!(first.is_ok());
}
