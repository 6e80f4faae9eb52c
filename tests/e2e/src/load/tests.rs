//! The load against an application on loopback that does what a test tells it to.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::CONNECTION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::*;

const PATIENCE: Duration = Duration::from_secs(30);

/// How the application answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Willing,
    Silent,
    Busy,
    Closing,
}

/// An application that stores nothing and says that every order is new.
struct Application {
    address: SocketAddr,
    mood: watch::Sender<Mood>,
    hang_up: watch::Sender<u32>,
    opened: Arc<AtomicUsize>,
}

impl Application {
    async fn start() -> Application {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let application = Application {
            address: listener.local_addr().unwrap(),
            mood: watch::Sender::new(Mood::Willing),
            hang_up: watch::Sender::new(0),
            opened: Arc::default(),
        };
        let (mood, hang_up) = (application.mood.clone(), application.hang_up.clone());
        let opened = Arc::clone(&application.opened);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                opened.fetch_add(1, Ordering::Relaxed);
                let (mood, mut hang_up) = (mood.clone(), hang_up.subscribe());
                tokio::spawn(async move {
                    let service = service_fn(|request| answer(request, mood.subscribe()));
                    let serving = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::select! {
                        _ = serving => {}
                        _ = hang_up.changed() => {}
                    }
                });
            }
        });
        application
    }

    fn load(&self, rate: u32, connections: usize) -> Load {
        let settings = Settings {
            targets: vec![self.address],
            rate,
            connections,
        };
        Load::start(settings, Orders::new("test"))
    }

    fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }
}

async fn answer(
    request: Request<Incoming>,
    mut mood: watch::Receiver<Mood>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    request.into_body().collect().await.unwrap();
    let mood = *mood.wait_for(|mood| *mood != Mood::Silent).await.unwrap();
    let response = Response::builder();
    let response = match mood {
        Mood::Busy => response.status(503).body(Full::from("busy")),
        Mood::Closing => {
            let response = response.status(201).header(CONNECTION, "close");
            response.body(Full::from(r#"{"index": 1}"#))
        }
        Mood::Willing | Mood::Silent => response.status(201).body(Full::from(r#"{"index": 1}"#)),
    };
    Ok(response.unwrap())
}

#[tokio::test]
async fn connections_are_kept_and_every_order_is_counted() {
    let application = Application::start().await;
    let load = application.load(1_000, 8);
    load.answers(200, PATIENCE).await.unwrap();
    let outcome = load.stop().await;
    let Progress {
        sent,
        answered,
        failed,
        connections_closed,
    } = outcome.progress;
    assert_eq!((sent, failed, connections_closed), (answered, 0, 0));
    assert_eq!(outcome.answers.len() as u64, answered);
    assert_eq!(outcome.samples.len() as u64, answered);
    assert!(outcome.unique_keys() < answered);
    assert!(application.opened() <= 8);
}

#[tokio::test]
async fn a_stall_is_told_by_all_orders_that_were_due_in_it() {
    const STALL: Duration = Duration::from_millis(400);
    let application = Application::start().await;
    application.mood.send_replace(Mood::Silent);
    let load = application.load(100, 2);
    tokio::time::sleep(STALL).await;
    assert_eq!(load.progress().answered, 0);
    assert!(load.progress().sent <= 2);
    application.mood.send_replace(Mood::Willing);
    load.answers(40, PATIENCE).await.unwrap();
    let outcome = load.stop().await;
    // 20 orders were due in the first half of the stall; only two of them could be sent.
    let told = outcome
        .samples
        .iter()
        .filter(|sample| sample.latency >= STALL / 2);
    assert!(told.count() >= 20);
}

#[tokio::test]
async fn a_connection_closed_while_idle_is_counted_and_costs_no_order() {
    let application = Application::start().await;
    let load = application.load(20, 1);
    load.answers(1, PATIENCE).await.unwrap();
    let (due, opened) = (load.progress().sent, application.opened());
    application.hang_up.send_replace(1);
    load.answers(2, PATIENCE).await.unwrap();
    let outcome = load.stop().await;
    assert_eq!(outcome.progress.connections_closed, 1, "after {due}");
    assert_eq!(application.opened(), opened + 1);
}

#[tokio::test]
async fn an_announced_close_is_counted() {
    let application = Application::start().await;
    application.mood.send_replace(Mood::Closing);
    let load = application.load(200, 2);
    load.answers(10, PATIENCE).await.unwrap();
    let outcome = load.stop().await;
    assert_eq!(
        outcome.progress.connections_closed,
        outcome.progress.answered
    );
    assert_eq!(outcome.progress.failed, 0);
}

#[tokio::test]
async fn an_answer_without_a_stored_order_is_a_failure() {
    let application = Application::start().await;
    let load = application.load(200, 2);
    load.answers(1, PATIENCE).await.unwrap();
    application.mood.send_replace(Mood::Busy);
    let mut progress = load.shared.progress.subscribe();
    let failed = progress.wait_for(|progress| progress.failed >= 3);
    tokio::time::timeout(PATIENCE, failed)
        .await
        .unwrap()
        .unwrap();
    let outcome = load.stop().await;
    let all = outcome.progress.answered + outcome.progress.failed;
    assert_eq!(all, outcome.progress.sent);
    assert_eq!(outcome.failures[0].kind, FailureKind::Status(503));
    assert!(outcome.failures[0].to_string().contains("busy"));
    assert_eq!(outcome.progress.connections_closed, 0);
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_and_not_retried() {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let settings = Settings {
        targets: vec![nobody.local_addr().unwrap()],
        rate: 500,
        connections: 2,
    };
    drop(nobody);
    let load = Load::start(settings, Orders::new("test"));
    let mut progress = load.shared.progress.subscribe();
    let failed = progress.wait_for(|progress| progress.failed >= 5);
    tokio::time::timeout(PATIENCE, failed)
        .await
        .unwrap()
        .unwrap();
    assert!(
        load.answers(1, Duration::ZERO)
            .await
            .unwrap_err()
            .to_string()
            .contains("Connect")
    );
    let outcome = load.stop().await;
    assert_eq!(outcome.progress.failed, outcome.progress.sent);
    let refused = outcome.failures.iter();
    assert!(
        refused
            .clone()
            .all(|failure| failure.kind == FailureKind::Connect)
    );
    assert_eq!(outcome.progress.connections_closed, 0);
}
