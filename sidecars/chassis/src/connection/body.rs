//! Bodies that tell when they end.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use super::track::Track;
use super::upgrade;
use crate::body::Holding;
use crate::{BoxError, RequestBody, ResponseBody};

/// Numbers a request that hyper has parsed, and follows its body and its answer.
pub(super) fn track(
    request: Request<Incoming>,
    track: &Arc<Track>,
) -> (Request<RequestBody>, Answer) {
    let number = track.call();
    let request = request.map(|incoming| {
        let mut body = TrackedRequest {
            incoming,
            unread: Some((track.clone(), number)),
        };
        body.note_end();
        body.boxed_unsync()
    });
    (request, Answer(track.clone()))
}

/// The body of a request, until its end has been seen.
///
/// `unread` is `None` from then on. A body that is dropped before says nothing: hyper then closes
/// the connection, or skips the rest and parses another request, which proves that it was skipped.
struct TrackedRequest {
    incoming: Incoming,
    unread: Option<(Arc<Track>, u64)>,
}

impl TrackedRequest {
    fn note_end(&mut self) {
        if self.incoming.is_end_stream() {
            self.ended();
        }
    }

    fn ended(&mut self) {
        if let Some((track, number)) = self.unread.take() {
            track.read(number);
        }
    }
}

impl Body for TrackedRequest {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        match &frame {
            None => self.ended(),
            Some(Ok(_)) => self.note_end(),
            // The connection is broken.
            Some(Err(_)) => {}
        }
        Poll::Ready(frame.map(|frame| frame.map_err(BoxError::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The answer that is owed to a request, from the call until the response's body is dropped.
#[must_use]
pub(super) struct Answer(Arc<Track>);

impl Answer {
    /// The answer of a function. It is owed as long as this future, or the body that it yields,
    /// lives.
    pub(super) fn of(
        self,
        function: BoxFuture<'static, Response<ResponseBody>>,
        may_switch: bool,
    ) -> Answering {
        Answering {
            function,
            may_switch,
            answer: Some(self),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.0.answered();
    }
}

/// A function at work. `answer` is `None` once the response is there.
pub(super) struct Answering {
    function: BoxFuture<'static, Response<ResponseBody>>,
    may_switch: bool,
    answer: Option<Answer>,
}

impl Future for Answering {
    type Output = Result<Response<Holding<Option<Answer>>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut response = ready!(self.function.as_mut().poll(cx));
        let state = upgrade::switched(&mut response, self.may_switch);
        let answer = self.answer.take();
        if let (Some(state), Some(answer)) = (state, &answer) {
            answer.0.switch(state);
        }
        Poll::Ready(Ok(response.map(|body| Holding::new(body, answer))))
    }
}
