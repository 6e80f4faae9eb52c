//! Requests as streams of HTTP/2, several of one connection at a time.
//!
//! A server that goes away says so (GOAWAY): it answers the streams that it has, and the next ones
//! go over another connection. So a request that was not sent for this reason is sent over the next
//! connection, as every client of HTTP/2 does; one that was sent is never repeated.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::Shared;
use super::exchange::{PATIENCE, check};
use crate::function::ID;
use crate::record::Shape;

/// Streams of a connection at a time.
const STREAMS: usize = 8;

type Sender = SendRequest<Empty<Bytes>>;

/// The connection that new streams go over.
#[derive(Default)]
struct Connection(Mutex<Option<Sender>>);

/// Starts what sends over one connection.
pub(super) fn start(shared: &Arc<Shared>, stop: &watch::Sender<bool>, workers: &mut JoinSet<()>) {
    let connection = Arc::new(Connection::default());
    for _ in 0..STREAMS {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(&connection));
        workers.spawn(worker(shared, connection, stop.subscribe()));
    }
}

async fn worker(shared: Arc<Shared>, connection: Arc<Connection>, mut stop: watch::Receiver<bool>) {
    loop {
        let due = shared.next_due(1);
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep_until(due.into()) => {}
        }
        let id = shared.next.fetch_add(1, Ordering::Relaxed);
        let sent = Instant::now();
        shared.record.lock().0.sent += 1;
        let answered = tokio::time::timeout(PATIENCE, connection.send(&shared, id)).await;
        match answered {
            Ok(Ok(())) => shared.answer(due),
            Ok(Err(Failed { connect, detail })) => shared.fail(id..id + 1, sent, connect, &detail),
            Err(_) => {
                let detail = format!("no answer within {PATIENCE:?}");
                shared.fail(id..id + 1, sent, false, &detail);
            }
        }
    }
}

struct Failed {
    connect: bool,
    detail: String,
}

impl Failed {
    fn connect(error: impl std::fmt::Display) -> Failed {
        Failed {
            connect: true,
            detail: error.to_string(),
        }
    }

    fn stream(error: impl std::fmt::Debug) -> Failed {
        Failed {
            connect: false,
            detail: format!("{error:?}"),
        }
    }
}

impl Connection {
    /// Sends a request and reads its answer.
    async fn send(&self, shared: &Shared, id: u64) -> Result<(), Failed> {
        let request = Request::builder().method(Method::POST);
        let request = request.uri("http://bench/").header(ID, id);
        let mut request = request.body(Empty::new()).map_err(Failed::stream)?;
        let answer = loop {
            let mut sender = self.sender(shared).await?;
            match sender.try_send_request(request).await {
                Ok(answer) => break answer,
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failed::stream(error)),
                },
            }
        };
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(Failed::stream)?.to_bytes();
        check(Shape::Http2, id, head.status.as_u16(), &body).map_err(|detail| Failed {
            connect: false,
            detail,
        })
    }

    /// Something to send with: over the connection that is open, or else a new one.
    async fn sender(&self, shared: &Shared) -> Result<Sender, Failed> {
        let mut open = self.0.lock().await;
        if let Some(sender) = open.as_mut() {
            if sender.ready().await.is_ok() {
                return Ok(sender.clone());
            }
            shared.count_closed();
            *open = None;
        }
        let stream = TcpStream::connect(&shared.plan.target).await;
        let stream = stream.map_err(Failed::connect)?;
        stream.set_nodelay(true).map_err(Failed::connect)?;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (sender, connection) = handshake.await.map_err(Failed::connect)?;
        // Its end is told to whoever sends next.
        tokio::spawn(connection);
        Ok(open.insert(sender).clone())
    }
}
