//! `POST /v1/entries` and `GET /v1/entries/INDEX`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use outrigger_chassis::{Function, NotWarm, Problem, RequestBody, ResponseBody};
use outrigger_control::parameters::Idempotency;
use serde_json::value::RawValue;

use crate::body::{self, Budget};
use crate::failures::Failures;
use crate::json::{JsonObject, same_value};
use crate::key::Key;
use crate::metrics::{Metrics, Outcome};
use crate::problems;
use crate::store::{Put, PutError, Scope, Store};

const ENTRIES: &str = "/v1/entries";
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The *entries* face of the function.
pub(crate) struct Entries {
    scope: Scope,
    parameters: Idempotency,
    budget: Budget,
    store: Arc<Store>,
    metrics: Metrics,
    failures: Failures,
}

type Answer = (Outcome, Response<ResponseBody>);

impl Entries {
    pub(crate) fn new(
        scope: Scope,
        parameters: Idempotency,
        budget: Budget,
        store: Arc<Store>,
        metrics: Metrics,
    ) -> Entries {
        Entries {
            scope,
            budget,
            parameters,
            store,
            metrics,
            failures: Failures::default(),
        }
    }

    async fn answer(&self, request: Request<RequestBody>) -> Response<ResponseBody> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let traceparent = traceparent(&parts.headers);
        let (outcome, response) = self.route(&parts, body, traceparent).await;
        let function = self.scope.function.as_str();
        self.metrics.answered(function, outcome, started.elapsed());
        tracing::debug!(
            function,
            traceparent,
            result = outcome.as_str(),
            status = response.status().as_u16(),
            "Answered"
        );
        response
    }

    async fn route(&self, parts: &Parts, body: RequestBody, traceparent: Option<&str>) -> Answer {
        let path = parts.uri.path();
        if path == ENTRIES {
            return match parts.method {
                Method::POST => self.post(&parts.headers, body, traceparent).await,
                _ => without_body(body, wrong_method(&parts.method, "POST")).await,
            };
        }
        match path
            .strip_prefix(ENTRIES)
            .and_then(|rest| rest.strip_prefix('/'))
        {
            Some(index) if parts.method == Method::GET => {
                let answer = self.get(index, traceparent).await;
                without_body(body, answer).await
            }
            Some(_) => without_body(body, wrong_method(&parts.method, "GET")).await,
            None => without_body(body, not_found(problems::no_path(path))).await,
        }
    }

    async fn post(
        &self,
        headers: &HeaderMap,
        body: RequestBody,
        traceparent: Option<&str>,
    ) -> Answer {
        let document = match self.budget.read(headers, body).await {
            Ok(document) => document,
            Err(refused) => {
                let mut response = problems::body(&refused).into_response();
                if refused.is_unread() {
                    close(&mut response);
                }
                return (Outcome::Refused, response);
            }
        };
        let (bytes, _share) = document.into_parts();
        let document = match JsonObject::parse(bytes) {
            Ok(document) => document,
            Err(invalid) => return refused(problems::document(&invalid)),
        };
        let key = match Key::of(&document, &self.parameters.key_fields) {
            Ok(key) => key,
            Err(no_key) => return refused(problems::key(&no_key)),
        };
        let put = self
            .store
            .put(
                &self.scope,
                &key,
                document.as_str(),
                self.parameters.expire_after,
            )
            .await;
        match put {
            Ok(Put::Stored { index }) => {
                self.failures.succeeded(&self.scope.function);
                let body = format!("{{\"index\":{index}}}");
                (Outcome::Stored, entry(StatusCode::CREATED, index, body))
            }
            Ok(Put::Known {
                index,
                entry: known,
            }) => {
                self.failures.succeeded(&self.scope.function);
                let outcome = match is_same(document.as_str(), &known) {
                    true => Outcome::Repeated,
                    false => Outcome::Conflicting,
                };
                (
                    outcome,
                    entry(StatusCode::CONFLICT, index, copy(index, &known)),
                )
            }
            Err(error) => {
                let (outcome, cause) = match &error {
                    PutError::NotStored(cause) => (Outcome::Unavailable, cause),
                    PutError::Unknown(cause) => (Outcome::Unknown, cause),
                };
                self.metrics.store_failed(cause.kind);
                self.failures
                    .failed(&self.scope.function, cause, traceparent);
                (outcome, problems::put(&error).into_response())
            }
        }
    }

    async fn get(&self, text: &str, traceparent: Option<&str>) -> Answer {
        let Some(index) = parse_index(text) else {
            return not_found(problems::no_entry(text));
        };
        match self.store.get(&self.scope, index).await {
            Ok(Some(known)) => {
                self.failures.succeeded(&self.scope.function);
                let response = json(StatusCode::OK, copy(index, &known));
                (Outcome::Read, response)
            }
            Ok(None) => {
                self.failures.succeeded(&self.scope.function);
                not_found(problems::no_entry(text))
            }
            Err(error) => {
                self.metrics.store_failed(error.kind);
                self.failures
                    .failed(&self.scope.function, &error, traceparent);
                (Outcome::Unavailable, problems::get(&error).into_response())
            }
        }
    }
}

impl Function for Entries {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move { self.answer(request).await }.boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        async move {
            self.store
                .warm()
                .await
                .map_err(|error| NotWarm(error.to_string()))
        }
        .boxed()
    }
}

/// Reads the body of a request that needs none, and answers it.
async fn without_body(body: RequestBody, (outcome, mut response): Answer) -> Answer {
    if !body::discard(body).await {
        close(&mut response);
    }
    (outcome, response)
}

fn refused(problem: Problem) -> Answer {
    (Outcome::Refused, problem.into_response())
}

fn not_found(problem: Problem) -> Answer {
    (Outcome::NotFound, problem.into_response())
}

fn wrong_method(found: &Method, allowed: &'static str) -> Answer {
    let mut response = problems::method(found, allowed).into_response();
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static(allowed));
    (Outcome::Refused, response)
}

fn close(response: &mut Response<ResponseBody>) {
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
}

fn entry(status: StatusCode, index: i64, body: String) -> Response<ResponseBody> {
    let mut response = json(status, body);
    if let Ok(location) = HeaderValue::try_from(format!("{ENTRIES}/{index}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn json(status: StatusCode, body: String) -> Response<ResponseBody> {
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

/// An entry as it was sent, beside its index.
fn copy(index: i64, entry: &str) -> String {
    format!("{{\"index\":{index},\"entry\":{entry}}}")
}

fn is_same(left: &str, right: &str) -> bool {
    let raw = serde_json::from_str::<&RawValue>;
    match (raw(left), raw(right)) {
        (Ok(left), Ok(right)) => same_value(left, right),
        _ => false,
    }
}

/// Indexes are written without sign and leading zeros, so that each has one path.
fn parse_index(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    digits.then(|| text.parse().ok()).flatten()
}

/// The W3C trace context, if it has its form, for log lines.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<&str> = value.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hexadecimal = parts.concat().bytes().all(|byte| byte.is_ascii_hexdigit());
    (lengths == [2, 32, 16, 2] && hexadecimal).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_has_one_path() {
        assert_eq!(parse_index("1"), Some(1));
        assert_eq!(parse_index("9223372036854775807"), Some(i64::MAX));
        for text in ["", "0", "01", "+1", "-1", "9223372036854775808", "1/", "x"] {
            assert_eq!(parse_index(text), None, "{text}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_reaches_the_log() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(TRACEPARENT, HeaderValue::from_static(value));
            traceparent(&headers).is_some()
        };
        assert!(of(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        ));
        assert!(!of(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01"
        ));
        assert!(!of(
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0g"
        ));
        assert!(!of("orders 4711"));
    }
}
