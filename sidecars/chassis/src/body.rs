use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use serde::Serialize;
use tokio::time::timeout;

use crate::{BoxError, Problem, RequestBody, ResponseBody};

/// A body is given up when nothing of it arrives for this long.
const SILENCE: Duration = Duration::from_secs(10);

/// The next piece of a body; `None` at its end. An error says why there will be none.
async fn next(body: &mut RequestBody) -> Option<Result<Frame<Bytes>, Ended>> {
    match timeout(SILENCE, body.frame()).await {
        Ok(frame) => frame.map(|frame| frame.map_err(Ended::BrokeOff)),
        Err(_) => Some(Err(Ended::Silent)),
    }
}

/// Why a body ended early.
enum Ended {
    BrokeOff(BoxError),
    Silent,
}

/// Reads a request's body to its end and returns it, or the problem to answer with: 413 for a body
/// of more than `limit` bytes, 400 for one that broke off, 408 for one of which nothing arrived for
/// 10 s.
///
/// Of a body that is too large the rest is read too, and thrown away, so that the connection can
/// be kept and handed over.
pub async fn read_body(mut body: RequestBody, limit: usize) -> Result<Bytes, Problem> {
    let mut kept = BytesMut::new();
    let mut length = 0_usize;
    while let Some(frame) = next(&mut body).await {
        let frame = frame.map_err(|ended| {
            let (status, kind, how) = match ended {
                Ended::BrokeOff(error) => (
                    StatusCode::BAD_REQUEST,
                    "body-incomplete",
                    format!("the body broke off after {length} bytes: {error}"),
                ),
                Ended::Silent => (
                    StatusCode::REQUEST_TIMEOUT,
                    "body-timeout",
                    format!(
                        "nothing of the body arrived for {} s after {length} bytes",
                        SILENCE.as_secs()
                    ),
                ),
            };
            Problem::new(status, kind, how)
        })?;
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        length = length.saturating_add(data.len());
        if length <= limit {
            kept.extend_from_slice(&data);
        } else {
            kept.clear();
        }
    }
    if length > limit {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the body has {length} bytes; allowed are {limit}"),
        ));
    }
    Ok(kept.freeze())
}

/// Most of a refused body that is read so that its connection can be kept.
const MOST_DISCARDED: usize = 16 << 20;

/// Answers with a problem after the request's body has been read to its end, or closes the
/// connection after the answer if that would take too much.
pub(crate) async fn refuse(mut body: RequestBody, problem: Problem) -> Response<ResponseBody> {
    let mut left = MOST_DISCARDED;
    while let Some(frame) = next(&mut body).await {
        let Ok(frame) = frame else {
            return closing(problem);
        };
        let length = frame.data_ref().map_or(0, Bytes::len);
        match left.checked_sub(length) {
            Some(fewer) => left = fewer,
            None => return closing(problem),
        }
    }
    problem.into_response()
}

/// The answer to a request whose body is left unread.
pub(crate) fn closing(problem: Problem) -> Response<ResponseBody> {
    let mut response = problem.into_response();
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// The body of an answer, and what is dropped when it has been sent or given up. Fields are dropped
/// in this order: the body first.
pub(crate) struct Holding<T> {
    body: ResponseBody,
    _held: T,
}

impl<T> Holding<T> {
    pub(crate) fn new(body: ResponseBody, held: T) -> Holding<T> {
        Holding { body, _held: held }
    }
}

impl<T: Unpin> Body for Holding<T> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer with a JSON body.
///
/// A value that has no JSON form, such as a map whose keys are no text, is an internal error of the
/// function and answered as one.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response<ResponseBody> {
    match serde_json::to_vec(value) {
        Ok(text) => {
            let mut response = Response::new(full(text));
            *response.status_mut() = status;
            response
                .headers_mut()
                .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal-error",
            format!("the answer has no JSON form: {error}"),
        )
        .into_response(),
    }
}

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, stream};
    use http_body_util::StreamBody;

    use super::*;

    fn pieces(pieces: &[Result<&'static str, &'static str>]) -> RequestBody {
        let frames: Vec<Result<_, BoxError>> = pieces
            .iter()
            .map(|piece| match piece {
                Ok(data) => Ok(Frame::data(Bytes::from_static(data.as_bytes()))),
                Err(error) => Err((*error).into()),
            })
            .collect();
        StreamBody::new(stream::iter(frames)).boxed_unsync()
    }

    #[tokio::test]
    async fn a_body_is_read_within_its_limit() {
        let body = read_body(pieces(&[Ok("ab"), Ok("cd")]), 4).await.unwrap();
        assert_eq!(body, "abcd");
        let refused = read_body(pieces(&[Ok("ab"), Ok("cde")]), 4).await;
        assert_eq!(refused.unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
        let broken = read_body(pieces(&[Ok("ab"), Err("reset")]), 4).await;
        assert_eq!(broken.unwrap_err().status(), StatusCode::BAD_REQUEST);
    }

    /// A body of which nothing more comes after its first piece.
    fn half_sent() -> RequestBody {
        let first = stream::iter([Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"ab")))]);
        StreamBody::new(first.chain(stream::pending())).boxed_unsync()
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_go_on_is_given_up() {
        let silent = read_body(half_sent(), 4).await.unwrap_err();
        assert_eq!(silent.status(), StatusCode::REQUEST_TIMEOUT);
        let problem = Problem::new(StatusCode::FORBIDDEN, "refused", "refused");
        let refused = refuse(half_sent(), problem).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert_eq!(refused.headers()[CONNECTION], "close");
    }

    #[test]
    fn a_value_without_a_json_form_is_an_internal_error() {
        let map = std::collections::BTreeMap::from([([1_u8, 2], 3)]);
        let response = json(StatusCode::OK, &map);
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
