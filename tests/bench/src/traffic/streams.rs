//! Requests as streams of HTTP/2, several of one connection at a time.
//!
//! A server that goes away says so (GOAWAY), and names the last stream that it may have acted upon:
//! it answers those up to there, and has not looked at the others. These are sent again over the
//! next connection, as every client of HTTP/2 does, and so are streams that it resets because it has
//! not begun them (RFC 9113, sections 6.8 and 8.7). Any other request is sent once.
//!
//! The client is `h2`, without that of hyper above it: hyper fails a request that meets GOAWAY on
//! its way with the same error, whether the server may have got its stream or not.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;

use super::Shared;
use super::exchange::{PATIENCE, check};
use crate::function::ID;
use crate::record::Shape;

/// Streams of a connection at a time.
const STREAMS: usize = 8;
/// How often a request is sent that is refused each time.
const TRIES: usize = 3;

/// The connection that new streams go over.
#[derive(Default)]
struct Connection(Mutex<Option<SendRequest<Bytes>>>);

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
    /// Sends a request, again if it is refused, and reads its answer.
    async fn send(&self, shared: &Shared, id: u64) -> Result<(), Failed> {
        let mut tries = 1;
        let answer = loop {
            let sender = self.sender(shared).await?;
            match head(sender, id).await {
                Ok(answer) => break answer,
                Err(error) if is_refused(&error) && tries < TRIES => {
                    tries += 1;
                    shared.record.lock().0.resent += 1;
                }
                Err(error) => return Err(Failed::stream(error)),
            }
        };
        let status = answer.status().as_u16();
        let body = read(answer.into_body()).await.map_err(Failed::stream)?;
        check(Shape::Http2, id, status, &body).map_err(|detail| Failed {
            connect: false,
            detail,
        })
    }

    /// Something to send with: over the connection that is open, or else a new one.
    async fn sender(&self, shared: &Shared) -> Result<SendRequest<Bytes>, Failed> {
        let mut open = self.0.lock().await;
        if let Some(sender) = open.take() {
            if let Ok(sender) = sender.ready().await {
                return Ok(open.insert(sender).clone());
            }
            shared.count_closed();
        }
        let stream = TcpStream::connect(&shared.plan.target).await;
        let stream = stream.map_err(Failed::connect)?;
        stream.set_nodelay(true).map_err(Failed::connect)?;
        let handshake = h2::client::handshake(stream).await;
        let (sender, connection) = handshake.map_err(Failed::connect)?;
        // Its end is told to whoever sends next.
        tokio::spawn(connection);
        Ok(open.insert(sender).clone())
    }
}

/// Sends a request and waits for the head of its answer.
async fn head(mut sender: SendRequest<Bytes>, id: u64) -> Result<Response<RecvStream>, h2::Error> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("http://bench/");
    request.headers_mut().insert(ID, id.into());
    let (answer, _) = sender.send_request(request, true)?;
    answer.await
}

/// Whether the server says that it has not acted upon a request, and will not. `h2` says so by
/// GOAWAY of streams above the one that it names, and of those that were not sent any more. Others
/// stay open, until they are answered or the connection ends, which is another error.
fn is_refused(error: &h2::Error) -> bool {
    error.is_remote()
        && match error.reason() {
            Some(Reason::NO_ERROR) => error.is_go_away(),
            Some(Reason::REFUSED_STREAM) => error.is_reset(),
            _ => false,
        }
}

async fn read(mut body: RecvStream) -> Result<BytesMut, h2::Error> {
    let mut whole = BytesMut::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        whole.extend_from_slice(&piece);
    }
    Ok(whole)
}
