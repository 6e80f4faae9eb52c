//! Answers that an API server did not give, or not so.

use std::time::Duration;

use bytes::Bytes;
use futures::{FutureExt, Stream, StreamExt, stream};
use http::header::RETRY_AFTER;
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyDataStream, BodyExt, Full, StreamBody};
use serde_json::{Value, json};
use tower::BoxError;

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// An answer as all are.
pub(crate) fn uniform<B>(answer: Response<B>) -> Answer
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    answer.map(|body| body.map_err(Into::into).boxed_unsync())
}

/// A whole body.
pub(crate) fn whole(body: Bytes) -> UnsyncBoxBody<Bytes, BoxError> {
    Full::from(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// A failure with status and reason.
pub(crate) fn failure(status: StatusCode, reason: &str) -> Answer {
    let mut answer = Response::new(whole(told(status, reason).to_string().into()));
    *answer.status_mut() = status;
    let is_for_now = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ];
    if is_for_now.contains(&status) {
        let headers = answer.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

fn told(status: StatusCode, reason: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": format!("{reason}: fault"), "code": status.as_u16(),
    })
}

/// An answer whose body comes later.
pub(crate) fn slow(answer: Answer, pause: Duration) -> Answer {
    answer.map(|body| {
        let data = async move {
            tokio::time::sleep(pause).await;
            BodyDataStream::new(body)
        };
        streamed(data.flatten_stream())
    })
}

/// A watch that ends instead of the event after `events`, with 410 Gone or without a word.
pub(crate) fn cut(answer: Answer, events: usize, is_gone: bool) -> Answer {
    answer.map(|body| {
        let start = (BodyDataStream::new(body), Some(events));
        streamed(stream::unfold(start, move |(mut data, left)| async move {
            let left = left?;
            let event = data.next().await?;
            match (left.checked_sub(1), is_gone) {
                (Some(left), _) => Some((event, (data, Some(left)))),
                (None, true) => Some((Ok(gone()), (data, None))),
                (None, false) => None,
            }
        }))
    })
}

/// The last event of a watch that began too long ago.
fn gone() -> Bytes {
    let event = json!({"type": "ERROR", "object": told(StatusCode::GONE, "Expired")});
    format!("{event}\n").into()
}

fn streamed(
    data: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> UnsyncBoxBody<Bytes, BoxError> {
    StreamBody::new(data.map(|data| data.map(Frame::data))).boxed_unsync()
}
