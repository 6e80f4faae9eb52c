use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use outrigger_control::Limits;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::body::{Holding, closing, refuse};
use crate::{
    BoxError, Exclusive, Function, HandOver, NotWarm, Problem, RequestBody, ResponseBody, Upgraded,
};

/// What refused callers are told to wait, in seconds.
const RETRY_AFTER: u32 = 1;

/// A refusal comes so late at least, lest callers that ask again at once take the processor from
/// others, and at most twice as late: refusals of one moment are spread, and so are the callers'
/// next requests.
const PAUSE: Duration = Duration::from_millis(100);
/// Steps of the spread. Their number has no divisor with [`STEP`] in common, so each comes in turn.
const STEPS: u32 = 100;
const STEP: u32 = 61;

/// The gates of all tenants, with their metrics. A gate lives on through changes of configuration
/// that leave its limits alone, and so does what it counts.
#[derive(Default)]
pub(crate) struct Gates {
    gates: Mutex<BTreeMap<String, Arc<Gate>>>,
    requests: Family<Tenant, Counter>,
    refusals: Family<Refusal, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tenant {
    application: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refusal {
    application: String,
    limit: &'static str,
}

impl Gates {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "tenant_requests",
            "Requests of applications that share the sidecar",
            self.requests.clone(),
        );
        registry.register(
            "tenant_refusals",
            "Requests refused because the application used all that it may, by limit",
            self.refusals.clone(),
        );
    }

    /// The gates of applications with their limits. Those of others are forgotten, with what was
    /// counted.
    pub(crate) fn of(&self, limits: BTreeMap<String, Limits>) -> BTreeMap<String, Arc<Gate>> {
        let mut gates = self.gates.lock();
        for application in gates.keys().filter(|known| !limits.contains_key(*known)) {
            self.requests.remove(&Tenant {
                application: application.clone(),
            });
            for limit in [BODY, CONCURRENCY, RATE] {
                self.refusals.remove(&Refusal {
                    application: application.clone(),
                    limit,
                });
            }
        }
        let newest = limits.into_iter().map(|(application, limits)| {
            let gate = gates.get(&application).filter(|gate| gate.limits == limits);
            let gate = gate
                .cloned()
                .unwrap_or_else(|| Arc::new(self.gate(&application, limits)));
            (application, gate)
        });
        let newest: BTreeMap<_, _> = newest.collect();
        gates.clone_from(&newest);
        newest
    }

    fn gate(&self, application: &str, limits: Limits) -> Gate {
        let refusals = |limit| {
            let refusal = Refusal {
                application: application.to_owned(),
                limit,
            };
            self.refusals.get_or_create(&refusal).clone()
        };
        let tenant = Tenant {
            application: application.to_owned(),
        };
        Gate {
            places: Arc::new(Semaphore::new(
                usize::try_from(limits.max_concurrent_requests).unwrap_or(Semaphore::MAX_PERMITS),
            )),
            waiting: AtomicU32::new(0),
            refusals: AtomicU32::new(0),
            bucket: limits
                .requests_per_second
                .map(|rate| Mutex::new(Bucket::full(rate))),
            requests: self.requests.get_or_create(&tenant).clone(),
            too_large: refusals(BODY),
            too_many: refusals(CONCURRENCY),
            too_often: refusals(RATE),
            limits,
        }
    }
}

const BODY: &str = "body";
const CONCURRENCY: &str = "concurrency";
const RATE: &str = "rate";

/// Keeps one tenant to its limits, over all functions.
pub(crate) struct Gate {
    limits: Limits,
    places: Arc<Semaphore>,
    waiting: AtomicU32,
    /// Refusals so far.
    refusals: AtomicU32,
    bucket: Option<Mutex<Bucket>>,
    requests: Counter,
    too_large: Counter,
    too_many: Counter,
    too_often: Counter,
}

impl Gate {
    /// Takes a place among the requests of the tenant, or waits for one, or says why not.
    async fn enter(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Problem> {
        self.requests.inc();
        if let (Some(limit), Some(length)) = (self.limits.max_body_bytes, content_length(headers))
            && length > limit
        {
            return Err(self.too_large(limit));
        }
        if let Some(bucket) = &self.bucket
            && !bucket.lock().take(Instant::now())
        {
            self.too_often.inc();
            let rate = self.limits.requests_per_second.unwrap_or_default();
            return Err(refused(format!(
                "the application may send {rate} requests per second"
            )));
        }
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let most = self.limits.max_concurrent_requests;
        let crowded = || {
            self.too_many.inc();
            refused(format!(
                "{most} requests of the application are being answered, and as many wait"
            ))
        };
        let Some(_turn) = Turn::take(&self.waiting, most) else {
            return Err(crowded());
        };
        // The semaphore is never closed.
        Arc::clone(&self.places)
            .acquire_owned()
            .await
            .map_err(|_| crowded())
    }

    /// How long the next refusal waits.
    fn pause(&self) -> Duration {
        let turn = self.refusals.fetch_add(1, Ordering::Relaxed) % STEPS;
        PAUSE + PAUSE * (turn * STEP % STEPS) / STEPS
    }

    fn too_large(&self, limit: u64) -> Problem {
        self.too_large.inc();
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body-too-large",
            format!("the application may send bodies of {limit} bytes"),
        )
    }
}

fn refused(detail: String) -> Problem {
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "limit-reached", detail).retry_after(RETRY_AFTER)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A place among those that wait.
struct Turn<'a>(&'a AtomicU32);

impl Turn<'_> {
    fn take(waiting: &AtomicU32, most: u32) -> Option<Turn<'_>> {
        let joined = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now < most).then_some(now + 1)
        });
        joined.ok().map(|_| Turn(waiting))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A token bucket: `rate` requests per second, and bursts of as many.
struct Bucket {
    rate: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: u32) -> Bucket {
        Bucket {
            rate: rate.into(),
            tokens: rate.into(),
            at: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let gained = (now - self.at).as_secs_f64() * self.rate;
        self.tokens = (self.tokens + gained).min(self.rate);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }
}

/// A function of one tenant, behind its gate.
pub(crate) struct Guarded {
    pub(crate) function: Arc<dyn Function>,
    pub(crate) gate: Arc<Gate>,
}

impl Function for Guarded {
    fn call(
        self: Arc<Self>,
        request: Request<RequestBody>,
    ) -> BoxFuture<'static, Response<ResponseBody>> {
        async move {
            let place = match self.gate.enter(request.headers()).await {
                Ok(place) => place,
                Err(problem) => {
                    tokio::time::sleep(self.gate.pause()).await;
                    return refuse(request.into_body(), problem).await;
                }
            };
            let function = Arc::clone(&self.function);
            let response = match self.gate.limits.max_body_bytes {
                None => function.call(request).await,
                Some(limit) => {
                    let exceeded = Arc::new(AtomicBool::new(false));
                    let request = request.map(|body| {
                        let exceeded = Arc::clone(&exceeded);
                        Limited {
                            body,
                            left: limit,
                            exceeded,
                        }
                        .boxed_unsync()
                    });
                    let response = function.call(request).await;
                    match exceeded.load(Ordering::Acquire) {
                        true => closing(self.gate.too_large(limit)),
                        false => response,
                    }
                }
            };
            // The request has its place until its answer has been sent.
            response.map(|body| Holding::new(body, place).boxed_unsync())
        }
        .boxed()
    }

    fn warm(self: Arc<Self>) -> BoxFuture<'static, Result<(), NotWarm>> {
        Arc::clone(&self.function).warm()
    }

    fn upgraded(
        self: Arc<Self>,
        state: Bytes,
        connection: Upgraded,
    ) -> BoxFuture<'static, Option<HandOver>> {
        Arc::clone(&self.function).upgraded(state, connection)
    }

    fn exclusive(self: Arc<Self>) -> Option<Arc<dyn Exclusive>> {
        Arc::clone(&self.function).exclusive()
    }
}

/// A request's body that fails when it is longer than allowed.
struct Limited {
    body: RequestBody,
    left: u64,
    exceeded: Arc<AtomicBool>,
}

impl Body for Limited {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    self.exceeded.store(true, Ordering::Release);
                    return Poll::Ready(Some(Err("the body is longer than allowed".into())));
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[path = "gate_tests.rs"]
mod tests;
