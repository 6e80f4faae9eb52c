use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use http::header::CONTENT_TYPE;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{Full, StreamBody};
use hyper::body::Bytes;
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync;

use crate::address::{Address, query};
use crate::evictions::evict;
use crate::failure::{FORBIDDEN, Failure, INTERNAL, NO_METHOD, NOT_FOUND};
use crate::list::list;
use crate::managers::Applying;
use crate::patch::PatchForm;
use crate::selection::Selection;
use crate::state::State;
use crate::{journal, watch};

/// The server. Clones are the same server.
#[derive(Clone, Default)]
pub struct ApiServer {
    pub(crate) state: Arc<Mutex<State>>,
    versions: sync::watch::Sender<u64>,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl ApiServer {
    /// A client of it.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    /// The version of the last change, as it rises.
    pub fn versions(&self) -> sync::watch::Receiver<u64> {
        self.versions.subscribe()
    }

    /// The object at a path.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// Writes an object, status and all, like somebody else would.
    pub fn put(&self, path: &str, mut object: Value) {
        if let Some(address) = Address::parse(path) {
            address.complete(&mut object);
        }
        self.change(|state| {
            journal::put(state, path, &object);
            state.store(path, object)
        });
    }

    /// Deletes an object like somebody else would.
    pub fn delete(&self, path: &str) {
        self.change(|state| {
            journal::delete(state, path);
            state.remove(path)
        });
    }

    /// Lets the next writes fail.
    pub fn fail(&self, writes: usize) {
        self.state.lock().failures = writes;
    }

    /// Forgets what has changed until now, as an API server does after some minutes: watches from
    /// earlier versions, and further pages of lists, are answered 410 Gone.
    pub fn forget(&self) {
        self.state.lock().history.forget();
    }

    /// Changes each pod that is created from now on, in a dry run too, as an admission webhook does.
    pub fn admit(&self, webhook: impl Fn(Value) -> Value + Send + Sync + 'static) {
        self.state.lock().webhook = Some(Arc::new(webhook));
    }

    /// Forbids writes whose body holds a text, as an admission policy may.
    pub fn forbid(&self, text: &str) {
        self.state.lock().forbidden = Some(text.to_owned());
    }

    /// Method and path of each write by a client.
    pub fn writes(&self) -> Vec<String> {
        self.state.lock().writes.clone()
    }

    /// Path of each object that a client read by its name.
    pub fn reads(&self) -> Vec<String> {
        self.state.lock().reads.clone()
    }

    /// Path of each collection that a client listed or watched.
    pub fn lists(&self) -> BTreeSet<String> {
        self.state.lock().lists.clone()
    }

    /// What was asked of it, by clients and by others, in a form in which another server can be
    /// asked the same: `method`, `uri`, `contentType`, `body` and `status` of a client's write, `put`
    /// or `delete` with the path of another's.
    pub fn journal(&self) -> Vec<Value> {
        self.state.lock().journal.clone()
    }

    /// All objects, by path.
    pub fn objects(&self) -> BTreeMap<String, Value> {
        self.state.lock().objects.clone()
    }

    /// The objects whose path begins so.
    pub fn under(&self, prefix: &str) -> Vec<Value> {
        let state = self.state.lock();
        let all = state.objects.iter();
        all.filter(|(path, _)| path.starts_with(prefix))
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// Waits until an object is as asked for.
    pub async fn until(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let mut versions = self.versions.subscribe();
        while !wanted(self.get(path).as_ref()) {
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until the objects whose path begins so are as asked for.
    pub async fn until_all(&self, prefix: &str, wanted: impl Fn(&[Value]) -> bool) {
        let mut versions = self.versions.subscribe();
        while !wanted(&self.under(prefix)) {
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let done = change(&mut state);
        let version = state.version();
        drop(state);
        self.versions.send_replace(version);
        done
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (parts, body) = request.into_parts();
        let query = query(parts.uri.query().unwrap_or_default());
        let content_type = parts.headers.get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let body = body.collect_bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let Some(address) = Address::parse(parts.uri.path()) else {
            return failure(&NOT_FOUND);
        };
        if parts.method == Method::GET {
            return self.read(address, &query);
        }
        let body = match parts.method {
            Method::POST if address.is_collection() && address.is_pod() => self.admitted(body),
            _ => body,
        };
        let (method, uri) = (parts.method, parts.uri.to_string());
        self.change(|state| {
            state.writes.push(format!("{method} {}", parts.uri.path()));
            let asked = (&method, uri.as_str(), content_type.unwrap_or_default());
            journal::request(state, asked, &address.object(), &body);
            let answer = write(state, (asked.0, asked.2), &address, &query, body);
            let status = answer
                .as_ref()
                .map_or_else(|failed| failed.code, |(status, _)| *status);
            journal::answered(state, status.as_u16());
            answer
        })
        .map_or_else(
            |failed| failure(&failed),
            |(status, object)| json_answer(status, &object),
        )
    }

    /// A new pod as the webhook makes it, which may look at the server's objects.
    fn admitted(&self, pod: Value) -> Value {
        let webhook = self.state.lock().webhook.clone();
        match webhook {
            Some(webhook) => webhook(pod),
            None => pod,
        }
    }

    fn read(&self, address: Address, query: &BTreeMap<String, String>) -> Answer {
        if !address.is_collection() {
            self.state.lock().reads.push(address.object());
            return match self.get(&address.object()) {
                Some(object) => json_answer(StatusCode::OK, &object),
                None => failure(&NOT_FOUND),
            };
        }
        let collection = address.object().trim_end_matches('/').to_owned();
        self.state.lock().lists.insert(collection);
        let selection = Selection::new(address, query);
        if query.get("watch").is_some_and(|value| value == "true") {
            let events = watch::events(self.clone(), selection, query);
            return Response::new(BoxBody::new(StreamBody::new(Box::pin(events))));
        }
        let listed = list(&self.state.lock(), &selection, query);
        listed.map_or_else(
            |failed| failure(&failed),
            |list| json_answer(StatusCode::OK, &list),
        )
    }
}

/// Carries a write out, whose method and content type are given.
fn write(
    state: &mut State,
    (method, content_type): (&Method, &str),
    address: &Address,
    query: &BTreeMap<String, String>,
    body: Value,
) -> Result<(StatusCode, Value), Failure> {
    if state.failures > 0 {
        state.failures -= 1;
        return Err(INTERNAL);
    }
    let forbidden = state.forbidden.as_deref();
    if forbidden.is_some_and(|text| body.to_string().contains(text)) {
        return Err(FORBIDDEN);
    }
    let is_dry_run = query.get("dryRun").is_some_and(|value| value == "All");
    match (method, PatchForm::of(content_type)) {
        (&Method::POST, _) if address.is_eviction() => evict(state, address, &body),
        (&Method::POST, _) if address.is_collection() => {
            let stored = match is_dry_run {
                true => body,
                false => state.create(address, body)?,
            };
            Ok((StatusCode::CREATED, stored))
        }
        (&Method::PUT, _) => Ok((StatusCode::OK, state.replace(address, body)?)),
        (&Method::PATCH, Some(form)) => {
            let by = Applying {
                manager: query.get("fieldManager").map_or("", String::as_str),
                force: query.get("force").is_some_and(|value| value == "true"),
            };
            state.patch(address, form, by, body)
        }
        (&Method::DELETE, _) => Ok((StatusCode::OK, state.delete(address, &body)?)),
        _ => Err(NO_METHOD),
    }
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(BoxBody::new(Full::from(value.to_string())));
    *answer.status_mut() = status;
    answer
}

fn failure(failure: &Failure) -> Answer {
    json_answer(failure.code, &failure.status())
}
