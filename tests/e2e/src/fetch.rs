//! One request over a connection of its own.

use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

const PATIENCE: Duration = Duration::from_secs(20);

/// An answer, read to its end.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, read as JSON.
    ///
    /// # Errors
    /// With the body, when it is something else.
    pub fn json<T: DeserializeOwned>(&self) -> anyhow::Result<T> {
        serde_json::from_slice(&self.body)
            .with_context(|| format!("{} with {}", self.status, self.text()))
    }
}

/// `GET`.
///
/// # Errors
/// When there is no answer; any status is one.
pub async fn get(url: &str) -> anyhow::Result<Answer> {
    send(Method::GET, url, &[], Bytes::new()).await
}

/// `POST` of a JSON document, or of what a test calls one.
///
/// # Errors
/// When there is no answer; any status is one.
pub async fn post(url: &str, body: impl Into<Bytes>) -> anyhow::Result<Answer> {
    let json = [("content-type", "application/json")];
    send(Method::POST, url, &json, body.into()).await
}

/// Any request.
///
/// # Errors
/// When there is no answer; any status is one.
pub async fn send(
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<Answer> {
    send_within(PATIENCE, method, url, headers, body).await
}

/// Any request whose answer may take longer than others.
///
/// # Errors
/// When there is no answer within `patience`; any status is one.
pub async fn send_within(
    patience: Duration,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> anyhow::Result<Answer> {
    let uri: Uri = url
        .parse()
        .with_context(|| format!("{url} is no address"))?;
    let mut request = Request::builder().method(method.clone()).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body))?;
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new())
        .retry_canceled_requests(false)
        .build_http();
    let exchange = async {
        let (parts, body) = client.request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        anyhow::Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        })
    };
    tokio::time::timeout(patience, exchange)
        .await
        .with_context(|| format!("{method} {url}: no answer within {patience:?}"))?
        .with_context(|| format!("{method} {url}"))
}
