//! One HTTP/2 connection. It cannot move: its state of streams and compressed headers is spread over
//! the parser. At a handover the client is told to open another one (GOAWAY), which the new slot
//! serves; every stream that was accepted is still answered here.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::rewound::Rewound;
use super::upgrade;
use crate::{BoxError, RequestBody, ResponseBody};

/// Most streams of one connection at a time.
const STREAMS: u32 = 100;
/// Most bytes of a request's headers.
const HEADERS: u32 = 16 * 1024;
/// Most bytes of request bodies that a connection, and one stream of it, sends ahead of their
/// readers.
const CONNECTION_WINDOW: u32 = 256 * 1024;
const STREAM_WINDOW: u32 = 64 * 1024;
/// Most bytes of an answer that wait to be sent on one stream.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves a connection until it closes. Once `drain` turns true the client is told to go, and what
/// it has begun is finished within `drain_limit`.
///
/// `on_goaway` is called when the client is told.
pub(crate) async fn serve<IO, S>(
    stream: IO,
    read: Bytes,
    service: S,
    mut drain: watch::Receiver<bool>,
    drain_limit: Duration,
    on_goaway: impl FnOnce(),
) -> hyper::Result<()>
where
    IO: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>>,
{
    let io = TokioIo::new(Rewound { read, stream });
    let service = service_fn(|request: Request<Incoming>| {
        let request = request.map(|body| body.map_err(BoxError::from).boxed_unsync());
        let answer = service(request);
        async move {
            let mut response = answer.await;
            // Only HTTP/1.1 knows it.
            upgrade::switched(&mut response, false);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADERS)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER);
    let mut connection = pin!(builder.serve_connection(io, service));
    tokio::select! {
        ended = connection.as_mut() => return ended,
        _ = drain.wait_for(|draining| *draining) => {}
    }
    on_goaway();
    connection.as_mut().graceful_shutdown();
    let rest = poll_fn(|cx| connection.as_mut().poll(cx));
    // Streams that are still open then end with their connection.
    timeout(drain_limit, rest).await.unwrap_or(Ok(()))
}
