//! Requests over HTTP/2 against servers that refuse some of them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use h2::Reason;
use h2::server::SendResponse;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};

use super::{Ledger, run_against};
use crate::ledger::Verdict;
use crate::record::{Plan, Shape};
use crate::traffic::exchange::expected;

/// A run of streams over two connections.
pub(super) fn plan(target: String) -> Plan {
    Plan {
        target,
        shape: Shape::Http2,
        rate: 2000,
        connections: 2,
        idle: 0,
        first: 1000,
    }
}

pub(super) fn id<B>(request: &Request<B>) -> u64 {
    request.headers()["x-id"].to_str().unwrap().parse().unwrap()
}

/// A server that lets each connection go after some requests, as a slot at a swap does.
pub(super) async fn serve_hyper(requests: u64) -> (String, Ledger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let ledger = Ledger::default();
    let shared = Arc::clone(&ledger);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&shared), requests));
        }
    });
    (target, ledger)
}

async fn connection(stream: TcpStream, ledger: Ledger, requests: u64) {
    let (enough, mut is_enough) = tokio::sync::watch::channel(0);
    let service = service_fn(move |request: Request<Incoming>| {
        let id = id(&request);
        ledger.lock().push(id);
        enough.send_modify(|count| *count += 1);
        async move { Ok::<_, std::convert::Infallible>(Response::new(expected(Shape::Http2, id))) }
    });
    let connection = http2::Builder::new(TokioExecutor::new());
    let connection = connection.serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ = &mut connection => return,
        _ = is_enough.wait_for(|count| *count >= requests) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

#[tokio::test]
async fn streams_go_over_another_connection_when_one_goes_away() {
    let (target, ledger) = serve_hyper(20).await;
    let (outcome, verdict) = run_against(plan(target), &ledger, 400).await;
    assert_eq!(outcome.failures, []);
    assert_eq!(verdict, Verdict::default());
    // Eight streams of a connection may be under way when it goes.
    assert!(outcome.closed >= 8, "{}", outcome.closed);
}

/// What a server does with a request, once for each time that it comes; then it answers it.
type Resets = Arc<Mutex<HashMap<u64, Vec<Reset>>>>;

#[derive(Clone, Copy)]
enum Reset {
    /// Has not begun it.
    Refused,
    /// Has acted upon it.
    Late(Reason),
}

/// A server that resets some streams.
async fn serve_resets(resets: Resets) -> (String, Ledger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let ledger = Ledger::default();
    let shared = Arc::clone(&ledger);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (ledger, resets) = (Arc::clone(&shared), Arc::clone(&resets));
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    answer(id(&request), respond, &ledger, &resets);
                }
            });
        }
    });
    (target, ledger)
}

fn answer(id: u64, mut respond: SendResponse<Bytes>, ledger: &Ledger, resets: &Resets) {
    let reset = resets.lock().get_mut(&id).and_then(Vec::pop);
    match reset {
        Some(Reset::Refused) => return respond.send_reset(Reason::REFUSED_STREAM),
        Some(Reset::Late(reason)) => {
            ledger.lock().push(id);
            return respond.send_reset(reason);
        }
        None => ledger.lock().push(id),
    }
    let mut body = respond.send_response(Response::new(()), false).unwrap();
    let text = expected(Shape::Http2, id);
    body.send_data(text.into(), true).unwrap();
}

#[tokio::test]
async fn only_a_stream_that_was_not_begun_is_sent_again() {
    let resets = Resets::default();
    resets.lock().extend([
        (1010, vec![Reset::Refused]),
        (1020, vec![Reset::Refused; 2]),
        (1030, vec![Reset::Refused; 9]),
        (1040, vec![Reset::Late(Reason::INTERNAL_ERROR)]),
        (1050, vec![Reset::Late(Reason::CANCEL)]),
        (1060, vec![Reset::Late(Reason::NO_ERROR)]),
    ]);
    let (target, ledger) = serve_resets(Arc::clone(&resets)).await;
    let (outcome, verdict) = run_against(plan(target), &ledger, 200).await;
    let mut failed: Vec<_> = outcome.failures.iter().map(|failure| failure.id).collect();
    failed.sort_unstable();
    assert_eq!(failed, [1030, 1040, 1050, 1060]);
    assert_eq!(outcome.resent, 1 + 2 + 2);
    let expected = Verdict {
        unknown: 3,
        ..Verdict::default()
    };
    assert_eq!(verdict, expected);
    assert_eq!(outcome.closed, 0);
}
