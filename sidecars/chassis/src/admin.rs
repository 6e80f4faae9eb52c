//! The admin port: `/status` for the operator, `/metrics` for Prometheus, `/livez`.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use outrigger_control::Report;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::status::Status;

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Most connections at a time.
const CONNECTIONS: usize = 32;
/// Longest time for a request's head, and for an idle connection.
const HEAD: Duration = Duration::from_secs(10);
/// Pause after a port that cannot be had, or a failed accept.
const PAUSE: Duration = Duration::from_secs(1);

/// What the admin port shows.
pub(crate) struct Admin {
    pub(crate) status: Source,
    pub(crate) registry: Registry,
}

/// Where the report comes from.
pub(crate) enum Source {
    /// A worker that runs.
    Worker(Arc<Status>),
    /// What is left to say of one that cannot.
    Failed(Box<Report>),
}

/// Answers on every address of the pod, for the worker's whole life.
pub(crate) async fn serve(port: u16, admin: Admin) {
    let admin = Arc::new(admin);
    let listener = loop {
        match bind(port).and_then(tokio::net::TcpListener::from_std) {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(port, %error, "Admin port could not be had");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let admin = Arc::clone(&admin);
                tokio::spawn(async move {
                    converse(stream, admin).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "Connection to the admin port could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Listens on every address of the pod. The socket does not block.
pub(crate) fn bind(port: u16) -> io::Result<TcpListener> {
    // A socket of version 6 takes both versions, where there is version 6.
    let listener = match TcpListener::bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))
        }
        bound => bound,
    }?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn converse(stream: TcpStream, admin: Arc<Admin>) {
    let service = service_fn(move |request| {
        let response = admin.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = conversation.await {
        tracing::debug!(%error, "Connection to the admin port failed");
    }
}

impl Admin {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body) = self.route(request.method(), request.uri().path());
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    }

    /// Status, content type and body of the answer to a request.
    pub(crate) fn route(&self, method: &Method, path: &str) -> (StatusCode, &'static str, String) {
        let known = matches!(path, "/status" | "/metrics" | "/livez");
        if known && method != Method::GET && method != Method::HEAD {
            let text = format!("method is {method}; allowed are GET and HEAD\n");
            return (StatusCode::METHOD_NOT_ALLOWED, TEXT, text);
        }
        match path {
            "/status" => match self.status.report_json() {
                Ok(report) => (StatusCode::OK, JSON, report),
                Err(error) => failed(&error),
            },
            "/metrics" => {
                if let Source::Worker(status) = &self.status {
                    status.refresh_metrics();
                }
                let mut text = String::new();
                match encode(&mut text, &self.registry) {
                    Ok(()) => (StatusCode::OK, OPEN_METRICS, text),
                    Err(error) => failed(&error),
                }
            }
            "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            _ => (
                StatusCode::NOT_FOUND,
                TEXT,
                format!("path is {path:?}; allowed are /status, /metrics and /livez\n"),
            ),
        }
    }
}

impl Source {
    fn report_json(&self) -> serde_json::Result<String> {
        match self {
            Source::Worker(status) => serde_json::to_string(&status.report()),
            Source::Failed(report) => serde_json::to_string(report),
        }
    }
}

fn failed(error: &dyn std::fmt::Display) -> (StatusCode, &'static str, String) {
    tracing::error!(%error, "Admin port could not answer");
    (
        StatusCode::INTERNAL_SERVER_ERROR,
        TEXT,
        format!("{error}\n"),
    )
}
