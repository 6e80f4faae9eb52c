//! The server as an API server sees it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::Full;
use jiff::Timestamp;
use outrigger_api_server::ApiServer;
use outrigger_injection::Settings;
use outrigger_webhook::{Certificates, Injector, Metrics, ServeOptions, keep_certificate, serve};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::admission::OPERATOR;
use crate::requests::{Connection, RealTime, post, shop_pod};
use crate::store::Store;

pub(crate) const SECRET: &str =
    "/api/v1/namespaces/outrigger-system/secrets/outrigger-webhook-certificate";

/// A replica of the operator that leads, as far as the webhook goes.
pub(crate) struct Replica {
    pub(crate) api: ApiServer,
    pub(crate) address: SocketAddr,
    pub(crate) certificates: Arc<Certificates>,
    pub(crate) registry: Registry,
    pub(crate) stop: CancellationToken,
    pub(crate) served: JoinHandle<std::io::Result<()>>,
}

impl Replica {
    pub(crate) async fn start(
        store: Store,
        options: ServeOptions,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Replica {
        let api = ApiServer::default();
        let certificates = Certificates::new();
        let stop = CancellationToken::new();
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        {
            let (certificates, client) = (Arc::clone(&certificates), api.client());
            let stop = stop.clone();
            tokio::spawn(async move {
                certificates.follow(client, "outrigger-system", stop).await;
            });
        }
        {
            let (certificates, client) = (Arc::clone(&certificates), api.client());
            let stop = stop.clone();
            tokio::spawn(async move {
                let (namespace, service) = ("outrigger-system", "outrigger");
                keep_certificate(client, &certificates, namespace, service, clock, stop).await;
            });
        }
        let injector = Injector::new(store, Settings::default(), OPERATOR.into());
        let served = tokio::spawn(serve(
            listener,
            Arc::clone(&certificates),
            injector,
            metrics,
            options,
            stop.clone(),
        ));
        certificates.loaded().await;
        Replica {
            api,
            address,
            certificates,
            registry,
            stop,
            served,
        }
    }

    pub(crate) fn authorities(&self) -> String {
        let secret: k8s_openapi::api::core::v1::Secret =
            serde_json::from_value(self.api.get(SECRET).unwrap()).unwrap();
        String::from_utf8(secret.data.unwrap()["ca.crt"].0.clone()).unwrap()
    }

    pub(crate) async fn connect(&self) -> Connection {
        Connection::open(self.address, &self.authorities(), RealTime)
            .await
            .unwrap()
    }
}

async fn replica() -> Replica {
    Replica::start(Store::shop(), ServeOptions::default(), Timestamp::now).await
}

#[tokio::test]
async fn a_pod_gets_its_sidecars_over_one_of_many_connections() {
    let replica = replica().await;
    assert!(replica.certificates.is_loaded());
    let mut connections = Vec::new();
    for _ in 0..5 {
        connections.push(replica.connect().await);
    }
    for connection in &mut connections {
        for _ in 0..3 {
            let response = connection.admit(&shop_pod()).await.unwrap();
            assert_eq!(response["allowed"], true);
            assert_eq!(response["uid"], "0c9a8d74");
            assert_eq!(response["patchType"], "JSONPatch");
        }
    }
}

#[tokio::test]
async fn what_is_no_review_is_told_apart() {
    let replica = replica().await;
    let path = Request::post("/other").body(Full::default()).unwrap();
    let method = Request::builder()
        .method(Method::PUT)
        .uri("/inject")
        .body(Full::default())
        .unwrap();
    for (request, status) in [
        (path, 404),
        (method, 405),
        (post("nonsense"), 400),
        (
            post(json!({"kind": "AdmissionReview", "apiVersion": "v1"}).to_string()),
            400,
        ),
        (post(vec![b' '; 9 * 1024 * 1024]), 413),
    ] {
        let mut connection = replica.connect().await;
        let answer = connection.send(request).await.unwrap();
        assert_eq!(answer.status(), status);
    }
}

#[tokio::test]
async fn a_client_that_trusts_others_is_not_served() {
    let first = replica().await;
    let second = replica().await;
    let authorities = second.authorities();
    let refused = Connection::open(first.address, &authorities, RealTime).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn what_became_of_requests_is_counted() {
    let replica = replica().await;
    let mut connection = replica.connect().await;
    connection.admit(&shop_pod()).await.unwrap();
    let mut host = shop_pod();
    host["spec"]["hostNetwork"] = true.into();
    connection.admit(&host).await.unwrap();
    connection.send(post("nonsense")).await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &replica.registry).unwrap();
    for line in [
        "outrigger_admission_requests_total{result=\"Injected\"} 1",
        "outrigger_admission_requests_total{result=\"Refused\"} 1",
        "outrigger_admission_requests_total{result=\"Malformed\"} 1",
        "outrigger_admission_duration_seconds_count 3",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn a_replica_that_stops_takes_connections_for_a_while_and_ends_open_ones() {
    let options = ServeOptions {
        linger: Duration::from_millis(500),
        drain: Duration::from_secs(30),
    };
    let replica = Replica::start(Store::shop(), options, Timestamp::now).await;
    let mut open = replica.connect().await;
    replica.stop.cancel();
    let mut late = replica.connect().await;
    assert!(late.admit(&shop_pod()).await.is_ok(), "still served");
    assert!(open.admit(&shop_pod()).await.is_ok(), "still served");
    // Without waiting for the drain time: idle connections are closed.
    replica.served.await.unwrap().unwrap();
    assert!(open.admit(&shop_pod()).await.is_err());
}
