use std::collections::HashMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use tokio::sync::watch;
use tower::{BoxError, Layer, Service};

use crate::answer::{Answer, cut, failure, slow, uniform, whole};
use crate::{Call, Fault, Plan, Verb};

/// The layer, with what it has seen. Clones are the same layer.
#[derive(Clone)]
pub struct Faults {
    plan: Arc<Plan>,
    seen: Arc<Mutex<Seen>>,
    crashed: watch::Sender<bool>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    writes: usize,
    /// The last answer to each list.
    lists: HashMap<String, Bytes>,
}

/// What becomes of a call.
enum Fate {
    Passes(usize),
    Fails(usize, Fault),
    /// It is never sent.
    Dies,
}

impl Faults {
    /// Lets go wrong what a plan says.
    pub fn new(plan: Plan) -> Faults {
        Faults {
            plan: Arc::new(plan),
            seen: Arc::default(),
            crashed: watch::Sender::new(false),
        }
    }

    /// A client whose calls go through the layer to another client's API server.
    pub fn before(&self, client: Client) -> Client {
        let server = tower::service_fn(move |request: Request<Body>| {
            let client = client.clone();
            async move { client.send(request).await }
        });
        Client::new(self.layer(server), "default")
    }

    /// Waits until the process is to be taken for dead. Nothing that it has still to say is heard.
    pub async fn crashed(&self) {
        let mut crashed = self.crashed.subscribe();
        // The sender is here.
        let _ = crashed.wait_for(|crashed| *crashed).await;
    }

    /// The calls, in the order in which they were made, without those after a crash.
    pub fn calls(&self) -> Vec<Call> {
        self.seen.lock().calls.clone()
    }

    /// How many writes were sent.
    pub fn writes(&self) -> usize {
        self.seen.lock().writes
    }

    fn fate(&self, call: Call) -> Fate {
        let mut seen = self.seen.lock();
        let is_dead = *self.crashed.borrow();
        let is_last = call.verb.is_write() && self.plan.crash_after == Some(seen.writes);
        if is_dead || is_last {
            drop(seen);
            self.crashed.send_replace(true);
            return Fate::Dies;
        }
        seen.writes += usize::from(call.verb.is_write());
        let number = seen.calls.len();
        let fault = self.plan.fault(number, call.verb);
        seen.calls.push(call);
        match fault {
            Some(fault) => Fate::Fails(number, fault),
            None => Fate::Passes(number),
        }
    }

    fn answered(&self, number: usize, status: StatusCode) {
        self.seen.lock().calls[number].status = Some(status);
    }

    /// The answer to a list before this one, which is remembered for the next.
    async fn stale(&self, list: String, answer: Answer) -> Result<Answer, BoxError> {
        let (head, body) = answer.into_parts();
        let current = body.collect().await?.to_bytes();
        let former = self.seen.lock().lists.insert(list, current.clone());
        Ok(Response::from_parts(head, whole(former.unwrap_or(current))))
    }

    /// Remembers the answer to a list.
    async fn remembered(&self, list: String, answer: Answer) -> Result<Answer, BoxError> {
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        self.seen.lock().lists.insert(list, body.clone());
        Ok(Response::from_parts(head, whole(body)))
    }
}

impl<S> Layer<S> for Faults {
    type Service = Faulty<S>;

    fn layer(&self, server: S) -> Faulty<S> {
        Faulty {
            faults: self.clone(),
            server,
        }
    }
}

/// An API server with faults before it.
#[derive(Clone)]
pub struct Faulty<S> {
    faults: Faults,
    server: S,
}

impl<S, B> Service<Request<Body>> for Faulty<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.server.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let faults = self.faults.clone();
        let call = Call::of(&request);
        let list = (call.verb == Verb::List).then(|| request.uri().to_string());
        let (number, fault) = match faults.fate(call) {
            Fate::Dies => return std::future::pending().boxed(),
            Fate::Passes(number) => (number, None),
            Fate::Fails(number, fault) => (number, Some(fault)),
        };
        let refusal = match fault {
            Some(Fault::Before) => Some((StatusCode::INTERNAL_SERVER_ERROR, "InternalError")),
            Some(Fault::Conflict) => Some((StatusCode::CONFLICT, "Conflict")),
            Some(Fault::TooManyRequests) => {
                Some((StatusCode::TOO_MANY_REQUESTS, "TooManyRequests"))
            }
            Some(Fault::Unavailable) => {
                Some((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable"))
            }
            _ => None,
        };
        if let Some((status, reason)) = refusal {
            return std::future::ready(Ok(failure(status, reason))).boxed();
        }
        let answer = self.server.call(request);
        let work = async move {
            let answer = uniform(answer.await.map_err(Into::into)?);
            faults.answered(number, answer.status());
            match (fault, list) {
                (Some(Fault::After), _) => Err("the answer was lost".into()),
                (Some(Fault::SlowBody(pause)), _) => Ok(slow(answer, pause)),
                (Some(Fault::WatchClosed(events)), _) => Ok(cut(answer, events, false)),
                (Some(Fault::WatchGone(events)), _) => Ok(cut(answer, events, true)),
                (Some(Fault::StaleList), Some(list)) => faults.stale(list, answer).await,
                (_, Some(list)) => faults.remembered(list, answer).await,
                _ => Ok(answer),
            }
        };
        work.boxed()
    }
}
