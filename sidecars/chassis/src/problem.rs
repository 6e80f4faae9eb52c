use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Map, Value};

use crate::ResponseBody;

/// An error as `application/problem+json` (RFC 9457).
#[derive(Clone, Debug)]
pub struct Problem {
    status: StatusCode,
    retry_after: Option<u32>,
    members: Map<String, Value>,
}

impl Problem {
    /// A problem of a kind (`urn:outrigger:problem:KIND`) with its HTTP status and what happened.
    pub fn new(status: StatusCode, kind: &str, detail: impl Into<String>) -> Problem {
        let mut members = Map::new();
        members.insert(
            "type".into(),
            format!("urn:outrigger:problem:{kind}").into(),
        );
        members.insert(
            "title".into(),
            status.canonical_reason().unwrap_or("Error").into(),
        );
        members.insert("status".into(), status.as_u16().into());
        members.insert("detail".into(), detail.into().into());
        Problem {
            status,
            retry_after: None,
            members,
        }
    }

    /// Adds a member of this kind of problem (RFC 9457, section 3.2).
    pub fn with(mut self, member: &str, value: impl Into<Value>) -> Problem {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    /// Tells the client when to try again, in seconds.
    pub fn retry_after(mut self, seconds: u32) -> Problem {
        self.retry_after = Some(seconds);
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The response.
    pub fn into_response(self) -> Response<ResponseBody> {
        let body = Bytes::from(Value::Object(self.members).to_string());
        let mut response = Response::new(
            Full::new(body)
                .map_err(|never| match never {})
                .boxed_unsync(),
        );
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}
