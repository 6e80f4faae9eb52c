//! Connections that speak another protocol after an HTTP/1.1 request with `Upgrade`.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::MAX_UNREAD;
use super::rewound::Rewound;
use crate::stream::Stream;
use crate::{Problem, ResponseBody, full};

/// Most bytes of a [`HandOver`], its state and what is unread together.
pub(crate) const MAX_HAND_OVER: usize = MAX_UNREAD;

/// The answer 101, after which the connection speaks `protocol` and is given to
/// [`Function::upgraded`](crate::Function::upgraded) with `state`. Headers that the protocol wants,
/// such as `Sec-WebSocket-Accept`, are added by the function.
///
/// Only a request that asks for it can be answered so: one of HTTP/1.1 with `Upgrade`, whose body
/// was read to its end.
pub fn switch_protocols(protocol: HeaderValue, state: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(full(Bytes::new()));
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
    response.extensions_mut().insert(Switch(state.into()));
    response
}

/// With what an upgraded connection begins.
#[derive(Clone, Debug)]
struct Switch(Bytes);

/// Whether a request can be answered by [`switch_protocols`].
pub(super) fn is_asked_for<B>(request: &http::Request<B>) -> bool {
    request.extensions().get::<OnUpgrade>().is_some()
}

/// The state in an answer that switches protocols. An answer that cannot do so here is replaced.
pub(super) fn switched(response: &mut Response<ResponseBody>, possible: bool) -> Option<Bytes> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return None;
    }
    match response.extensions_mut().remove::<Switch>() {
        Some(Switch(state)) if possible => Some(state),
        switch => {
            let detail = match switch {
                Some(_) => "the function switched protocols, which the request did not ask for",
                None => "the function answered 101, but not by switch_protocols",
            };
            let error = StatusCode::INTERNAL_SERVER_ERROR;
            *response = Problem::new(error, "internal-error", detail).into_response();
            None
        }
    }
}

/// How an upgraded connection is to leave its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Another worker goes on with it: [`Upgraded::hand_over`].
    HandOver,
    /// Nobody can go on with it: say goodbye as the protocol has it, and end.
    Close,
}

/// A connection after a request with `Upgrade`: a stream of bytes in both directions.
///
/// What was written is on its way to the client, nothing is held back here.
#[derive(Debug)]
pub struct Upgraded {
    io: Rewound<Stream>,
    leave: watch::Receiver<Option<Leave>>,
}

impl Upgraded {
    /// Resolves when the connection is to leave this worker, at once if it is now.
    ///
    /// It is told to as a handover begins, or as the last worker begins to end. A connection that has
    /// not left 10 s later is cut, unless the handover was given up meanwhile: then it may stay, until
    /// it is told again.
    ///
    /// Nobody takes over from a function with something [exclusive](crate::Function::exclusive)
    /// before all its connections have left: such a handover is given up after 5 s and tried again,
    /// and after three of them the new version counts as failed.
    pub fn leaving(&self) -> impl Future<Output = Leave> + Send + use<> {
        let mut leave = self.leave.clone();
        async move {
            let told = leave.wait_for(Option::is_some).await;
            match told.ok().and_then(|leave| *leave) {
                Some(leave) => leave,
                // It stays until it ends.
                None => std::future::pending().await,
            }
        }
    }

    /// Gives the connection to whoever is to go on with it: [`Function::upgraded`] is called with
    /// `state`, in another worker or, if the handover was given up, in this one.
    ///
    /// `unread` is what the function has read and not acted upon, e.g. a part of a message. It
    /// comes back as the first that is read. State and unread bytes have at most 128 KiB together;
    /// a connection with more stays in this worker.
    ///
    /// [`Function::upgraded`]: crate::Function::upgraded
    pub fn hand_over(self, state: impl Into<Bytes>, unread: impl Into<Bytes>) -> HandOver {
        let mut unread: Bytes = unread.into();
        let Rewound { read, stream } = self.io;
        if !read.is_empty() {
            let mut whole = BytesMut::from(unread);
            whole.extend_from_slice(&read);
            unread = whole.freeze();
        }
        HandOver {
            stream,
            unread,
            state: state.into(),
        }
    }
}

/// An upgraded connection between two workers.
#[derive(Debug)]
pub struct HandOver {
    pub(crate) stream: Stream,
    pub(crate) unread: Bytes,
    pub(crate) state: Bytes,
}

impl HandOver {
    fn length(&self) -> usize {
        self.state.len().saturating_add(self.unread.len())
    }
}

/// Lets a function work on a connection until it ends, or until it leaves.
///
/// A connection that was told to leave and has not after `limit` is cut.
pub(crate) async fn serve(
    begun: HandOver,
    function: impl Fn(Bytes, Upgraded) -> BoxFuture<'static, Option<HandOver>>,
    leave: watch::Receiver<Option<Leave>>,
    limit: Duration,
) -> Option<HandOver> {
    let work = |from: HandOver, leave| {
        let HandOver {
            stream,
            unread,
            state,
        } = from;
        let io = Rewound {
            read: unread,
            stream,
        };
        let upgraded = Upgraded { io, leave };
        function(state, upgraded)
    };
    let mut told = leave.clone();
    let mut working = work(begun, leave);
    loop {
        let left = tokio::select! {
            left = &mut working => left?,
            () = overdue(&mut told, limit) => {
                tracing::warn!("Upgraded connection was cut that did not leave in time");
                return None;
            }
        };
        let length = left.length();
        let closing = *told.borrow() == Some(Leave::Close);
        if length <= MAX_HAND_OVER && !closing {
            return Some(left);
        }
        if length > MAX_HAND_OVER {
            tracing::error!(
                length,
                "Upgraded connection stays: at most {MAX_HAND_OVER} bytes can be handed over"
            );
        }
        // Nobody tells this one to leave.
        working = work(left, watch::channel(None).1);
    }
}

/// Resolves when a connection has been told to leave for as long as `limit`.
async fn overdue(told: &mut watch::Receiver<Option<Leave>>, limit: Duration) {
    loop {
        // Without a sender nothing is served any more.
        let _ = told.wait_for(Option::is_some).await;
        tokio::select! {
            () = tokio::time::sleep(limit) => return,
            Ok(_) = told.wait_for(Option::is_none) => {}
        }
    }
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::net::UnixStream;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn begun() -> HandOver {
        let (stream, _) = UnixStream::pair().unwrap();
        HandOver {
            stream: Stream::Unix(stream),
            unread: Bytes::from_static(b"unread"),
            state: Bytes::from_static(b"state"),
        }
    }

    /// Hands over at once when told to, with a state of some length.
    fn leaves_with(
        length: usize,
    ) -> impl Fn(Bytes, Upgraded) -> BoxFuture<'static, Option<HandOver>> {
        move |_, connection| {
            async move {
                connection.leaving().await;
                Some(connection.hand_over(vec![0; length], Bytes::from_static(b"and ")))
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_function_has_read_goes_before_what_it_has_not() {
        let (_leave, told) = watch::channel(Some(Leave::HandOver));
        let left = serve(begun(), leaves_with(3), told, LIMIT).await.unwrap();
        assert_eq!(left.unread, "and unread");
        assert_eq!(left.state.len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_cannot_leave_is_cut_only_after_the_limit() {
        for (length, how) in [(MAX_HAND_OVER, Leave::HandOver), (3, Leave::Close)] {
            let (leave, told) = watch::channel(Some(how));
            let mut served = Box::pin(serve(begun(), leaves_with(length), told, LIMIT));
            let early = tokio::time::timeout(LIMIT / 2, served.as_mut()).await;
            assert!(early.is_err(), "{early:?}");
            // The handover was given up.
            leave.send_replace(None);
            let early = tokio::time::timeout(LIMIT * 2, served.as_mut()).await;
            assert!(early.is_err(), "{early:?}");
            leave.send_replace(Some(how));
            assert!(served.await.is_none());
        }
    }
}
