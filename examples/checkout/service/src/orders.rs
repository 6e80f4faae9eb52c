//! Storing an order once, by the function `orders` of the sidecar.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE};
use http::uri::InvalidUri;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::Value;

use crate::connections::{CountingConnector, End};
use crate::metrics::Metrics;

/// The function's answer about an order.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Stored now, under this index.
    Stored { index: u64 },
    /// Stored before: the index and the order as it was then.
    Duplicate { index: u64, entry: Value },
    /// Not an order that can be stored: the function's own words.
    Refused { status: StatusCode, problem: Bytes },
}

/// The function gave no answer of use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// No connection, or it broke.
    #[error("the sidecar was not reached")]
    Unreachable(#[from] hyper_util::client::legacy::Error),
    /// The connection broke within the answer.
    #[error("the sidecar's answer broke off")]
    BrokeOff(#[from] hyper::Error),
    /// It says that it cannot now.
    #[error("the sidecar is not available: {0}")]
    Unavailable(String),
    /// Something else.
    #[error("the sidecar answered {0}: {1}")]
    Unexpected(StatusCode, String),
}

#[derive(Deserialize)]
struct New {
    index: u64,
}

#[derive(Deserialize)]
struct Existing {
    index: u64,
    entry: Value,
}

/// The function `orders`, reached over a pool of connections that stay open.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    entries: Uri,
    client: Client<CountingConnector, Full<Bytes>>,
}

impl Orders {
    /// The function at an address such as `http://127.0.0.1:15000`.
    pub(crate) fn at(url: &str, metrics: Arc<Metrics>) -> Result<Self, InvalidUri> {
        Ok(Orders {
            entries: format!("{}/v1/entries", url.trim_end_matches('/')).parse()?,
            client: Client::builder(TokioExecutor::new())
                // Connections are kept however long they are idle,
                .pool_idle_timeout(None)
                // and no request is silently sent again.
                .retry_canceled_requests(false)
                .build(CountingConnector::new(metrics)),
        })
    }

    /// Stores an order, if it is new. One attempt: whoever wants a retry makes it.
    pub(crate) async fn store(&self, order: Bytes) -> Result<Answer, NoAnswer> {
        let mut request = Request::new(Full::new(order));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.entries.clone();
        request.headers_mut().insert(
            CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );

        let response = self.client.request(request).await?;
        if announces_close(response.headers())
            && let Some(end) = response.extensions().get::<End>()
        {
            // The client closes it then, and reads no end.
            end.count();
        }
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let text = || String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::CREATED => serde_json::from_slice(&body)
                .map(|New { index }| Answer::Stored { index })
                .map_err(|_| NoAnswer::Unexpected(status, text())),
            StatusCode::CONFLICT => serde_json::from_slice(&body)
                .map(|Existing { index, entry }| Answer::Duplicate { index, entry })
                .map_err(|_| NoAnswer::Unexpected(status, text())),
            StatusCode::SERVICE_UNAVAILABLE => Err(NoAnswer::Unavailable(text())),
            status if status.is_client_error() => Ok(Answer::Refused {
                status,
                problem: body,
            }),
            status => Err(NoAnswer::Unexpected(status, text())),
        }
    }
}

/// Whether the answer is the last of its connection.
fn announces_close(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter();
    let mut options = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    options.any(|option| option.trim().eq_ignore_ascii_case("close"))
}
