//! A small HTTP service whose tickets hold no personal data: it has each redacted before it uses it.

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Request, StatusCode, Uri};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

const ADDRESS: &str = "0.0.0.0:8080";
/// Where the function `redact` of the pod's sidecar is.
const FUNCTION: &str = "OUTRIGGER_REDACT_URL";

#[derive(Clone)]
struct Redaction {
    function: Uri,
    client: Client<HttpConnector, Full<Bytes>>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let function = std::env::var(FUNCTION)
        .with_context(|| format!("{FUNCTION} is not set: has the pod got its sidecar?"))?;
    let redaction = Redaction {
        function: function
            .parse()
            .with_context(|| format!("{FUNCTION} is {function:?}, which is no address"))?,
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    let router = Router::new()
        .route("/tickets", post(file_ticket))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(redaction);
    let listener = TcpListener::bind(ADDRESS).await.context(ADDRESS)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let told = async move { terminate.recv().await.unwrap_or_default() };
    axum::serve(listener, router)
        .with_graceful_shutdown(told)
        .await?;
    Ok(())
}

/// Answers with the ticket as it would be filed.
async fn file_ticket(State(redaction): State<Redaction>, ticket: Bytes) -> impl IntoResponse {
    match redact(redaction, ticket).await {
        Ok((status, ticket)) => (status, ticket),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("{error:#}\n").into()),
    }
}

async fn redact(redaction: Redaction, ticket: Bytes) -> anyhow::Result<(StatusCode, Bytes)> {
    let request = Request::post(redaction.function).body(Full::new(ticket))?;
    let response = redaction.client.request(request).await;
    let response = response.context("the sidecar was not reached")?;
    let status = response.status();
    let body = response.into_body().collect().await;
    let body = body.context("the sidecar's answer broke off")?;
    Ok((status, body.to_bytes()))
}
