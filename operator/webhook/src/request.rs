//! From an HTTP request to an answer.

use std::sync::Arc;
use std::time::Instant;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes};
use k8s_openapi::api::core::v1::Pod;
use kube::core::admission::{AdmissionRequest, AdmissionReview};

use crate::configuration::WEBHOOK_PATH;
use crate::metrics::{Metrics, Outcome};
use crate::{Applications, Injector, Verdict};

/// A request to the API server holds at most 3 MiB; as JSON, with all defaults, it grows.
const MAX_BODY: usize = 8 * 1024 * 1024;

/// A request that is no admission review.
struct Malformed(StatusCode, String);

/// Answers one request.
pub(crate) async fn answer<A, B>(
    injector: Arc<Injector<A>>,
    metrics: Metrics,
    request: Request<B>,
) -> Response<Full<Bytes>>
where
    A: Applications,
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
{
    let begin = Instant::now();
    let (outcome, response) = match read(request).await {
        Err(Malformed(status, message)) => (Outcome::Malformed, plain(status, message)),
        Ok(review) => decided(&injector, &review).await,
    };
    metrics.count(outcome, begin.elapsed());
    response
}

async fn decided<A: Applications>(
    injector: &Injector<A>,
    request: &AdmissionRequest<Pod>,
) -> (Outcome, Response<Full<Bytes>>) {
    match injector.respond(request).await {
        Ok((response, verdict)) => {
            log(request, &verdict);
            match serde_json::to_vec(&response.into_review()) {
                Ok(body) => (Outcome::from(&verdict), json(body)),
                Err(error) => (Outcome::Failed, failed(request, &error)),
            }
        }
        // Not a refusal: the configuration's failurePolicy decides.
        Err(error) => (Outcome::Failed, failed(request, &error)),
    }
}

async fn read<B>(request: Request<B>) -> Result<AdmissionRequest<Pod>, Malformed>
where
    B: Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send,
{
    if request.uri().path() != WEBHOOK_PATH {
        let message = format!("the only path is {WEBHOOK_PATH}");
        return Err(Malformed(StatusCode::NOT_FOUND, message));
    }
    if request.method() != Method::POST {
        let message = "the only method is POST".to_owned();
        return Err(Malformed(StatusCode::METHOD_NOT_ALLOWED, message));
    }
    let body = Limited::new(request.into_body(), MAX_BODY);
    let bytes = body.collect().await.map_err(|error| {
        let status = match error.is::<LengthLimitError>() {
            true => StatusCode::PAYLOAD_TOO_LARGE,
            false => StatusCode::BAD_REQUEST,
        };
        Malformed(status, format!("body cannot be read: {error}"))
    })?;
    let review: AdmissionReview<Pod> = serde_json::from_slice(&bytes.to_bytes())
        .map_err(|error| Malformed(StatusCode::BAD_REQUEST, format!("not a review: {error}")))?;
    review.try_into().map_err(|_| {
        let message = "the review has no request".to_owned();
        Malformed(StatusCode::BAD_REQUEST, message)
    })
}

fn log(request: &AdmissionRequest<Pod>, verdict: &Verdict) {
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let pod = request.object.as_ref().map(pod_name).unwrap_or_default();
    let dry_run = request.dry_run;
    match verdict {
        Verdict::Untouched => tracing::debug!(namespace, pod, dry_run, "pod untouched"),
        Verdict::Disowned(_) => tracing::info!(namespace, pod, dry_run, "pod disowned"),
        Verdict::Injected { patch, .. } if patch.is_empty() => {
            tracing::debug!(namespace, pod, dry_run, "pod has its sidecars");
        }
        Verdict::Injected { .. } => tracing::info!(namespace, pod, dry_run, "pod injected"),
        Verdict::Refused(message) => {
            tracing::warn!(namespace, pod, dry_run, reason = message, "pod refused");
        }
    }
}

fn pod_name(pod: &Pod) -> String {
    let metadata = &pod.metadata;
    let name = metadata.name.as_ref().or(metadata.generate_name.as_ref());
    name.cloned().unwrap_or_default()
}

fn failed(request: &AdmissionRequest<Pod>, error: &dyn std::error::Error) -> Response<Full<Bytes>> {
    let namespace = request.namespace.as_deref().unwrap_or_default();
    tracing::error!(namespace, %error, "pod not decided");
    plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

fn json(body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn plain(status: StatusCode, message: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(message));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    let text = http::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(CONTENT_TYPE, text);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, http::HeaderValue::from_static("POST"));
    }
    response
}
