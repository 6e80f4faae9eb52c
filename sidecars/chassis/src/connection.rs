//! One HTTP/1.1 connection of a function, served so that it can move to another process between
//! two requests without the client noticing.
//!
//! # When a connection may move
//!
//! hyper owns the parser, the buffers and the socket, and gives them back by
//! `Connection::into_parts`. That is exact, so that nothing is lost and nothing is done twice, if
//! between two polls by the task that owns the connection
//! 1. no answer is owed: hyper has dropped the body of every response ([`Condition::Answered`]),
//! 2. no request is half read: every request body was read to its end ([`Condition::Read`]),
//! 3. nothing waits to be written: the last thing that hyper did on the write side was a flush
//!    that succeeded ([`Condition::Flushed`]).
//!
//! What hyper has read beyond the last request, a part of a head or requests that were sent without
//! waiting, comes back as bytes and travels with the socket. Each condition is kept by the type
//! that sees it: [`body`] the first two, [`io`] the third; [`track`] joins them. While the
//! connection drains, [`io`] also withholds what the client sends once the connection is between
//! two requests, so that it stays there.
//!
//! A connection whose protocol was switched is hyper's no more: [`End::Switched`]. When it may move
//! is up to its function; see [`upgrade`].
//!
//! hyper must keep its `pipeline_flush` off, which lets it skip flushes, and must be driven by
//! `Future::poll`: `poll_without_shutdown` may end before everything is flushed.

mod body;
pub(crate) mod http2;
mod io;
pub(crate) mod preface;
mod rewound;
#[cfg(test)]
mod tests;
mod track;
pub(crate) mod upgrade;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::sync::watch;
use tokio::time::Sleep;
use tokio_stream::wrappers::WatchStream;

use crate::{RequestBody, ResponseBody};
use io::ParkingIo;
use track::Track;

/// Largest request head, and the most that one read takes from a client.
const BUFFER: usize = 64 * 1024;

/// Upper bound of [`End::Parked`]'s `unread`: hyper reads on in a head only while it holds less
/// than [`BUFFER`], and one read adds at most [`BUFFER`].
pub(crate) const MAX_UNREAD: usize = 2 * BUFFER;

/// How a connection ended here.
#[derive(Debug)]
pub(crate) enum End<IO> {
    /// The client or the function closed it, or it was closed at the end of `drain_limit`.
    Closed,
    /// The client broke the protocol or the connection, or did not finish a head in time.
    Failed(hyper::Error),
    /// It is between two requests and lives on.
    Parked {
        /// The connection.
        io: IO,
        /// What the client has sent and nobody has acted upon, at most [`MAX_UNREAD`] bytes: the
        /// `replay` of whoever serves the connection next.
        unread: Bytes,
    },
    /// The function has answered that it speaks another protocol from now on.
    Switched {
        /// The connection.
        io: IO,
        /// What the client has sent after its request, at most [`MAX_UNREAD`] bytes.
        unread: Bytes,
        /// With what the function goes on.
        state: Bytes,
    },
}

/// Serves one HTTP/1.1 connection until it closes, or, once `drain` turns true, until it is between
/// two requests.
///
/// `replay` is read before anything from `io`. If `drain` turns false again before the connection
/// is parked, it is served on as if nothing had been; a connection that was parked in that moment
/// is the caller's to serve again. A connection that is not between two requests within
/// `drain_limit` of the signal is shut down gracefully: it closes after the answer in progress.
pub(crate) async fn serve<IO, S>(
    io: IO,
    replay: Bytes,
    service: S,
    drain: watch::Receiver<bool>,
    drain_limit: Duration,
) -> End<IO>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Fn(Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> + Unpin,
{
    drive(io, replay, service, drain, drain_limit, Track::default()).await
}

async fn drive<IO, S>(
    io: IO,
    replay: Bytes,
    service: S,
    drain: watch::Receiver<bool>,
    drain_limit: Duration,
    track: Track,
) -> End<IO>
where
    IO: hyper::rt::Read + hyper::rt::Write + Unpin,
    S: Fn(Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> + Unpin,
{
    let track = Arc::new(track);
    let calls = track.clone();
    let mut connection = http1::Builder::new().max_buf_size(BUFFER).serve_connection(
        ParkingIo::new(io, replay, track.clone()),
        service_fn(|request: Request<Incoming>| {
            let may_switch = upgrade::is_asked_for(&request);
            let (request, answer) = body::track(request, &calls);
            answer.of(service(request), may_switch)
        }),
    );

    let mut drain = WatchStream::new(drain);
    let mut limit = pin!(None::<Sleep>);
    let mut closing = false;
    // `None`: parked. From then on hyper is not touched again.
    let ended = poll_fn(|cx| {
        track.wake_on_change(cx.waker());
        // Only the newest value counts: a signal that came and went leaves no trace.
        while let Poll::Ready(Some(draining)) = drain.poll_next_unpin(cx) {
            if !closing && draining != track.is_draining() {
                track.set_draining(draining);
                limit.set(draining.then(|| tokio::time::sleep(drain_limit)));
            }
        }
        if track.may_park() {
            return Poll::Ready(None);
        }
        let late = limit.as_mut().as_pin_mut();
        if !closing && late.is_some_and(|limit| limit.poll(cx).is_ready()) {
            closing = true;
            track.set_draining(false);
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            Poll::Pending if track.may_park() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;

    match ended {
        // hyper may end before everything is flushed; it loses what is not.
        Some(Ok(())) if track.is_between_requests() && track.is_flushed() => {
            match track.switched() {
                Some(state) => {
                    let parts = connection.into_parts();
                    let (io, unread) = parts.io.into_parts(parts.read_buf);
                    End::Switched { io, unread, state }
                }
                None => End::Closed,
            }
        }
        Some(Ok(())) => End::Closed,
        Some(Err(error)) => End::Failed(error),
        None => {
            let parts = connection.into_parts();
            let (io, unread) = parts.io.into_parts(parts.read_buf);
            End::Parked { io, unread }
        }
    }
}
