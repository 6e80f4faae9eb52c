//! Requests and whole answers in JSON.

use anyhow::Context;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::Value;

/// The content type of objects.
pub const JSON: &str = "application/json";

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    /// The status code of HTTP.
    pub status: u16,
    /// The body, null if it is not JSON. Events of a watch are in a list.
    pub body: Value,
}

impl Answer {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn told(&self) -> String {
        let mut body = self.body.clone();
        if let Some(metadata) = body.pointer_mut("/metadata/managedFields") {
            metadata.take();
        }
        format!("{} {body}", self.status)
    }
}

/// Sends a request, without a body if that is null, and reads its answer to the end.
///
/// # Errors
/// When there is no answer. One that refuses is an answer.
pub async fn ask(
    client: &Client,
    method: Method,
    uri: &str,
    content_type: &str,
    body: &Value,
) -> anyhow::Result<Answer> {
    whole(send(client, method, uri, content_type, body).await?).await
}

/// Sends a request, as [`ask`] does.
pub(crate) async fn send(
    client: &Client,
    method: Method,
    uri: &str,
    content_type: &str,
    body: &Value,
) -> anyhow::Result<Response<Body>> {
    let bytes = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("Content-Type", content_type)
        .body(Body::from(bytes))?;
    client.send(request).await.with_context(|| uri.to_owned())
}

/// Reads an answer to its end.
pub(crate) async fn whole(answer: Response<Body>) -> anyhow::Result<Answer> {
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect_bytes().await?;
    let body = serde_json::from_slice(&bytes).unwrap_or_default();
    Ok(Answer { status, body })
}
