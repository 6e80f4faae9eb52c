//! As much of an API server as the webhook talks to: get, list, watch, create, replace and delete
//! of JSON objects by path.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use futures::{StreamExt, stream};
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{Full, StreamBody};
use hyper::body::{Bytes, Frame};
use kube::Client;
use kube::client::Body;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::watch;

#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    versions: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// Path, type and object of every change; the position is the version less one.
    log: Vec<(String, &'static str, Value)>,
    writes: Vec<String>,
    failures: usize,
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

impl ApiServer {
    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state.lock().objects.get(path).cloned()
    }

    /// Writes an object like somebody else would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.change(&mut self.state.lock(), path, object);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.remove(&mut self.state.lock(), path);
    }

    /// Lets the next writes fail.
    pub(crate) fn fail(&self, writes: usize) {
        self.state.lock().failures = writes;
    }

    /// Method and path of each write by a client.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.state.lock().writes.clone()
    }

    /// Waits until an object is as asked for.
    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(Option<&Value>) -> bool) {
        let mut versions = self.versions.subscribe();
        while !wanted(self.get(path).as_ref()) {
            versions.changed().await.unwrap();
        }
    }

    fn change(&self, state: &mut State, path: &str, mut object: Value) -> Value {
        let version = state.log.len() as u64 + 1;
        let known = state.objects.get(path);
        let uid = known.map_or(json!(format!("uid-{version}")), |known| {
            known["metadata"]["uid"].clone()
        });
        let kind = if known.is_some() { "MODIFIED" } else { "ADDED" };
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.objects.insert(path.to_owned(), object.clone());
        state.log.push((path.to_owned(), kind, object.clone()));
        self.versions.send_replace(version);
        object
    }

    fn remove(&self, state: &mut State, path: &str) -> Option<Value> {
        let object = state.objects.remove(path)?;
        let version = state.log.len() as u64 + 1;
        state.log.push((path.to_owned(), "DELETED", object.clone()));
        self.versions.send_replace(version);
        Some(object)
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let path = request.uri().path().to_owned();
        let query = request.uri().query().unwrap_or_default().to_owned();
        let method = request.method().clone();
        let body = request.into_body().collect_bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let is_collection = is_collection(&path);
        if method == Method::GET {
            return match (is_collection, query.contains("watch=true")) {
                (true, true) => self.watch(path, &query),
                (true, false) => self.list(&path, &query),
                (false, _) => match self.get(&path) {
                    Some(object) => json_answer(StatusCode::OK, &object),
                    None => failure(StatusCode::NOT_FOUND, "NotFound"),
                },
            };
        }
        let mut state = self.state.lock();
        state.writes.push(format!("{method} {path}"));
        if state.failures > 0 {
            state.failures -= 1;
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError");
        }
        let named = format!(
            "{path}/{}",
            body["metadata"]["name"].as_str().unwrap_or_default()
        );
        match method {
            Method::POST if state.objects.contains_key(&named) => {
                failure(StatusCode::CONFLICT, "AlreadyExists")
            }
            Method::POST => {
                let stored = self.change(&mut state, &named, body);
                json_answer(StatusCode::CREATED, &stored)
            }
            Method::PUT => match state.objects.get(&path) {
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
                Some(found)
                    if found["metadata"]["resourceVersion"]
                        != body["metadata"]["resourceVersion"] =>
                {
                    failure(StatusCode::CONFLICT, "Conflict")
                }
                Some(_) => {
                    let stored = self.change(&mut state, &path, body);
                    json_answer(StatusCode::OK, &stored)
                }
            },
            Method::DELETE => match self.remove(&mut state, &path) {
                Some(object) => json_answer(StatusCode::OK, &object),
                None => failure(StatusCode::NOT_FOUND, "NotFound"),
            },
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn list(&self, collection: &str, query: &str) -> Answer {
        let state = self.state.lock();
        let items: Vec<_> = state
            .objects
            .iter()
            .filter(|(path, _)| selects(collection, query, path))
            .map(|(_, object)| object.clone())
            .collect();
        let list = json!({
            "apiVersion": "v1",
            "kind": "List",
            "metadata": {"resourceVersion": state.log.len().to_string()},
            "items": items,
        });
        json_answer(StatusCode::OK, &list)
    }

    fn watch(&self, collection: String, query: &str) -> Answer {
        let query = query.to_owned();
        let since = query
            .split('&')
            .find_map(|pair| pair.strip_prefix("resourceVersion="))
            .and_then(|version| version.parse().ok())
            .unwrap_or(0);
        let (server, versions) = (self.clone(), self.versions.subscribe());
        let events = stream::unfold((since, versions), move |(mut next, mut versions)| {
            let (server, collection, query) = (server.clone(), collection.clone(), query.clone());
            async move {
                loop {
                    let entry = server.state.lock().log.get(next).cloned();
                    let Some((path, kind, object)) = entry else {
                        versions.changed().await.ok()?;
                        continue;
                    };
                    next += 1;
                    if selects(&collection, &query, &path) {
                        let mut event = json!({"type": kind, "object": object}).to_string();
                        event.push('\n');
                        return Some((event, (next, versions)));
                    }
                }
            }
        });
        let frames = events.map(|event| Ok::<_, Infallible>(Frame::data(Bytes::from(event))));
        Response::new(BoxBody::new(StreamBody::new(Box::pin(frames))))
    }
}

fn is_collection(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    [
        "secrets",
        "mutatingwebhookconfigurations",
        "resourcequotas",
        "limitranges",
    ]
    .contains(&last)
}

fn selects(collection: &str, query: &str, path: &str) -> bool {
    let name = query
        .split('&')
        .find_map(|pair| pair.strip_prefix("fieldSelector=metadata.name%3D"));
    path.strip_prefix(collection)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|found| name.is_none_or(|name| name == found))
}

fn json_answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Response::new(BoxBody::new(Full::from(value.to_string())));
    *answer.status_mut() = status;
    answer
}

fn failure(status: StatusCode, reason: &str) -> Answer {
    let value = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": reason, "message": reason, "code": status.as_u16(),
    });
    json_answer(status, &value)
}
