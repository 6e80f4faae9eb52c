//! HTTP/2 with prior knowledge, on the ports of HTTP/1.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use outrigger_control::Slot;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::load::Load;
use crate::pod::Pod;
use crate::sidecar::Seen;

crate::trials![handovers_under_load_fail_no_stream_and_http_1_goes_on_beside_them];

const CONNECTIONS: u32 = 4;
const STREAMS: u32 = 4;

type Sender = SendRequest<Full<Bytes>>;

async fn connect(port: u16) -> Sender {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    let io = TokioIo::new(stream.expect("connects are never refused"));
    let (sender, connection) = handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    sender
}

#[derive(Default)]
struct Figures {
    answered: AtomicU64,
    reconnects: AtomicU64,
}

/// Sends requests on one connection after the other, for as long as each lasts.
async fn client(port: u16, name: u32, stop: Arc<AtomicBool>, figures: Arc<Figures>) {
    let mut sender = connect(port).await;
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let streams = (0..STREAMS).map(|place| {
            number += 1;
            let path = if place == 0 { "/slow" } else { "/" };
            exchange(sender.clone(), path, format!("{name}-{number}"))
        });
        let mut goes = false;
        for sent in futures::future::join_all(streams).await {
            match sent {
                true => drop(figures.answered.fetch_add(1, Ordering::Relaxed)),
                false => goes = true,
            }
        }
        if goes || sender.is_closed() {
            figures.reconnects.fetch_add(1, Ordering::Relaxed);
            sender = connect(port).await;
        }
    }
}

/// Whether the request was answered; otherwise it was never sent, because the connection takes no
/// more streams. Anything else is a failure.
async fn exchange(mut sender: Sender, path: &str, tag: String) -> bool {
    let request = Request::post(format!("http://localhost{path}?{tag}"));
    let request = request.body(Full::from("some words")).unwrap();
    if sender.ready().await.is_err() {
        return false;
    }
    let response = match sender.try_send_request(request).await {
        Ok(response) => response,
        Err(mut error) => match error.take_message() {
            Some(_) => return false,
            None => panic!("stream {tag} failed: {:?}", error.into_error()),
        },
    };
    assert_eq!(response.status(), StatusCode::OK);
    let body = response
        .into_body()
        .collect()
        .await
        .expect("a whole answer");
    let seen: Seen = serde_json::from_slice(&body.to_bytes()).unwrap();
    assert_eq!((seen.tag, seen.length), (tag, 10));
    true
}

async fn handovers_under_load_fail_no_stream_and_http_1_goes_on_beside_them() {
    let pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    let stop = Arc::new(AtomicBool::new(false));
    let figures = Arc::new(Figures::default());
    let mut clients = JoinSet::new();
    for name in 0..CONNECTIONS {
        clients.spawn(client(pod.port, name, stop.clone(), figures.clone()));
    }
    let mut active = Slot::A;
    for term in 2..12 {
        load.answers(100).await;
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
    }
    load.answers(100).await;
    stop.store(true, Ordering::Relaxed);
    while let Some(client) = clients.join_next().await {
        client.unwrap();
    }
    load.finish().await.assert_lossless();
    let (answered, reconnects) = (&figures.answered, &figures.reconnects);
    println!("http/2: {answered:?} answered, {reconnects:?} reconnects");
    assert!(reconnects.load(Ordering::Relaxed) > 0);
    let (_, metrics) = pod.admin(Slot::A, "GET /metrics").await.unwrap();
    assert!(
        !metrics.contains("outrigger_sidecar_http2_reconnects_total 0"),
        "{metrics}"
    );
}
