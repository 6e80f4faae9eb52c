//! As much of an API server as an elector talks to: Leases with versions, a watch of them, and
//! faults on the way.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::BoxBody;
use http_body_util::{Full, StreamBody};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fault {
    /// It arrives so much later, even if nobody waits for the answer any more.
    pub(crate) before: Duration,
    /// It is answered with this status and has no effect.
    pub(crate) refuse: Option<u16>,
    /// Its answer arrives so much later.
    pub(crate) after: Duration,
    /// It has its effect, and is answered with a failure.
    pub(crate) lose: bool,
}

type Plan = Box<dyn FnMut(&str, &Method) -> Fault + Send>;

#[derive(Clone)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    versions: watch::Sender<u64>,
    plan: Arc<Mutex<Plan>>,
}

#[derive(Default)]
struct State {
    version: u64,
    lease: Option<Value>,
    /// The change that led to each version, from the first.
    log: Vec<Value>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl ApiServer {
    pub(crate) fn new() -> ApiServer {
        ApiServer {
            state: Arc::default(),
            versions: watch::Sender::new(0),
            plan: Arc::new(Mutex::new(Box::new(|_, _| Fault::default()))),
        }
    }

    /// Decides what happens to each request, by client and method.
    pub(crate) fn plan(&self, plan: impl FnMut(&str, &Method) -> Fault + Send + 'static) {
        *self.plan.lock() = Box::new(plan);
    }

    /// Lets no request of a client arrive.
    pub(crate) fn cut_off(&self, client: &'static str) {
        self.plan(move |name, _| Fault {
            refuse: (name == client).then_some(503),
            ..Fault::default()
        });
    }

    pub(crate) fn client(&self, name: &'static str) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(name, request).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn lease(&self) -> Option<Value> {
        self.state.lock().lease.clone()
    }

    pub(crate) fn holder(&self) -> Option<String> {
        let lease = self.lease()?;
        Some(lease["spec"]["holderIdentity"].as_str()?.to_owned())
    }

    /// Writes like somebody else would; `None` deletes.
    pub(crate) fn put(&self, lease: Option<Value>) {
        self.store(&mut self.state.lock(), lease);
    }

    fn store(&self, state: &mut State, lease: Option<Value>) -> Value {
        state.version += 1;
        let version = state.version;
        let former = state.lease.take();
        let kind = match (&former, &lease) {
            (_, None) => "DELETED",
            (None, Some(_)) => "ADDED",
            (Some(_), Some(_)) => "MODIFIED",
        };
        let mut object = lease.clone().or_else(|| former.clone()).unwrap();
        let uid = former.map_or(json!(format!("uid-{version}")), |former| {
            former["metadata"]["uid"].clone()
        });
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.lease = lease.map(|_| object.clone());
        state.log.push(json!({"type": kind, "object": object}));
        self.versions.send_replace(version);
        object
    }

    async fn answer(&self, client: &str, request: Request<Body>) -> Answer {
        let fault = (self.plan.lock())(client, request.method());
        let server = self.clone();
        // The server goes on when the client goes away.
        let served = tokio::spawn(async move {
            sleep(fault.before).await;
            match fault.refuse {
                Some(status) => failure(status),
                None => server.serve(request).await,
            }
        });
        let answer = served.await.unwrap();
        sleep(fault.after).await;
        match fault.lose {
            true => failure(504),
            false => answer,
        }
    }

    async fn serve(&self, request: Request<Body>) -> Answer {
        let named = request.uri().path().ends_with("/outrigger-operator");
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        if method == Method::GET && !named {
            return match query.contains("watch=true") {
                true => self.watch(&query),
                false => self.list(),
            };
        }
        let mut state = self.state.lock();
        let found = state.lease.clone();
        match (method, found) {
            (Method::GET, Some(lease)) => answer(200, &lease),
            (Method::GET | Method::PUT, None) => failure(404),
            (Method::POST, Some(_)) => failure(409),
            (Method::POST, None) => answer(201, &self.store(&mut state, Some(body))),
            (Method::PUT, Some(found)) => {
                let same = |field: &str| found["metadata"][field] == body["metadata"][field];
                match same("resourceVersion") && same("uid") {
                    true => answer(200, &self.store(&mut state, Some(body))),
                    false => failure(409),
                }
            }
            _ => failure(405),
        }
    }

    fn list(&self) -> Answer {
        let state = self.state.lock();
        let list = json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {"resourceVersion": state.version.to_string()},
            "items": state.lease.iter().collect::<Vec<_>>(),
        });
        answer(200, &list)
    }

    fn watch(&self, query: &str) -> Answer {
        let since: usize = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let state = Arc::clone(&self.state);
        let versions = self.versions.subscribe();
        let events = stream::unfold((since, versions), move |(next, mut versions)| {
            let state = Arc::clone(&state);
            async move {
                loop {
                    let entry = state.lock().log.get(next).cloned();
                    match entry {
                        Some(event) => return Some((format!("{event}\n"), (next + 1, versions))),
                        None => versions.changed().await.ok()?,
                    }
                }
            }
        });
        let frames = events.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
        Response::new(BoxBody::new(StreamBody::new(Box::pin(frames))))
    }
}

fn answer(status: u16, value: &Value) -> Answer {
    let mut answer = Response::new(BoxBody::new(Full::from(value.to_string())));
    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
    answer
}

fn failure(status: u16) -> Answer {
    let reason = match status {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "InternalError",
    };
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": format!("status {status}"), "code": status,
    });
    answer(status, &value)
}
