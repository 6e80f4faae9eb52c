//! The API server with a webhook for dry-run pods, and with requests that can be cut off.

use std::convert::Infallible;
use std::sync::Arc;

use futures::future::pending;
use http::{Method, Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use outrigger_api_server::ApiServer;
use outrigger_release::{Connections, Place, ReleaseError, Released, Step, release_all};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(crate) const GATE: &str = "outrigger.dev/placement";
pub(crate) const LEASE: &str =
    "/apis/coordination.k8s.io/v1/namespaces/outrigger-system/leases/outrigger-operator";
pub(crate) const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/outrigger-injector";
pub(crate) const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/outrigger";

/// What the API server does beside its duty.
type Interfere = Box<dyn FnMut(&ApiServer, &Method, &str) + Send>;
/// How dry-run pods come back, by their number; `None` is as they should.
type Admit = Box<dyn FnMut(usize) -> Option<Result<Value, (StatusCode, String)>> + Send>;

#[derive(Default)]
struct Behaviour {
    requests: Vec<(Method, String)>,
    probes: usize,
    /// Requests that are answered.
    limit: Option<usize>,
    interfere: Option<Interfere>,
    /// Path of an object that nobody may change, and why.
    forbidden: Option<(String, String)>,
    admit: Option<Admit>,
}

#[derive(Clone, Default)]
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
    behaviour: Arc<Mutex<Behaviour>>,
    cut: Arc<Notify>,
}

impl Cluster {
    /// With an operator that leads, and that covers the namespace `shop`.
    pub(crate) fn new() -> Cluster {
        let cluster = Cluster::default();
        let api = &cluster.api;
        api.put(ROLE, json!({"metadata": {"name": "outrigger"}}));
        api.put(
            LEASE,
            json!({"spec": {
                "holderIdentity": "outrigger-0_1", "leaseDurationSeconds": 15, "leaseTransitions": 4,
            }}),
        );
        api.put(
            CONFIGURATION,
            json!({
                "metadata": {"ownerReferences": [{
                    "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                    "name": "outrigger", "uid": "u",
                }]},
                "webhooks": [{
                    "name": "pods.outrigger.dev",
                    "admissionReviewVersions": ["v1"],
                    "sideEffects": "None",
                    "clientConfig": {"service": {
                        "namespace": "outrigger-system", "name": "outrigger",
                    }},
                    "namespaceSelector": {"matchExpressions": [{
                        "key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"],
                    }]},
                }],
            }),
        );
        cluster.application("shop");
        cluster
    }

    pub(crate) fn application(&self, namespace: &str) {
        let path =
            format!("/apis/outrigger.dev/v1alpha1/namespaces/{namespace}/integratedapps/app");
        self.api.put(&path, json!({"spec": {}}));
    }

    /// A pod with gates.
    pub(crate) fn pod(&self, namespace: &str, name: &str, gates: &[&str]) {
        self.api.put(&path(namespace, name), pod(gates));
    }

    /// The gates of a pod.
    pub(crate) fn gates(&self, namespace: &str, name: &str) -> Vec<String> {
        let pod = self.api.get(&path(namespace, name)).unwrap();
        let gates = pod["spec"]["schedulingGates"].as_array().cloned();
        let name = |gate: &Value| gate["name"].as_str().unwrap().to_owned();
        gates.unwrap_or_default().iter().map(name).collect()
    }

    /// What happens before each request.
    pub(crate) fn interfere(
        &self,
        interfere: impl FnMut(&ApiServer, &Method, &str) + Send + 'static,
    ) {
        self.behaviour.lock().interfere = Some(Box::new(interfere));
    }

    /// Refuses every change of an object.
    pub(crate) fn forbid(&self, path: &str, why: &str) {
        self.behaviour.lock().forbidden = Some((path.to_owned(), why.to_owned()));
    }

    pub(crate) fn admit(
        &self,
        admit: impl FnMut(usize) -> Option<Result<Value, (StatusCode, String)>> + Send + 'static,
    ) {
        self.behaviour.lock().admit = Some(Box::new(admit));
    }

    /// Answers so many requests from now on, and then none.
    pub(crate) fn limit(&self, limit: Option<usize>) {
        let mut behaviour = self.behaviour.lock();
        behaviour.requests.clear();
        behaviour.limit = limit;
    }

    /// Waits until a request was not answered.
    pub(crate) async fn cut(&self) {
        self.cut.notified().await;
    }

    pub(crate) fn requests(&self) -> Vec<(Method, String)> {
        self.behaviour.lock().requests.clone()
    }

    pub(crate) fn client(&self) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let cluster = cluster.clone();
            async move { Ok::<_, Infallible>(cluster.answer(request).await) }
        });
        Client::new(service, "default")
    }

    pub(crate) fn connections(&self) -> Connections {
        Connections {
            client: self.client(),
            scattered: self.client(),
        }
    }

    /// Releases everything; what was said, and what came of it.
    pub(crate) async fn release(&self) -> (Vec<Step>, Result<Released, ReleaseError>) {
        self.release_at(None).await
    }

    pub(crate) async fn release_at(
        &self,
        place: Option<Place>,
    ) -> (Vec<Step>, Result<Released, ReleaseError>) {
        let steps = Mutex::new(Vec::new());
        let tell = |step: &Step| steps.lock().push(step.clone());
        let released = release_all(&self.connections(), place, &tell).await;
        (steps.into_inner(), released)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let is_cut = {
            let mut behaviour = self.behaviour.lock();
            behaviour
                .requests
                .push((request.method().clone(), path.clone()));
            if let Some(interfere) = &mut behaviour.interfere {
                interfere(&self.api, request.method(), &path);
            }
            let count = behaviour.requests.len();
            behaviour.limit.is_some_and(|limit| count > limit)
        };
        if is_cut {
            self.cut.notify_one();
            return pending().await;
        }
        let forbidden = self.behaviour.lock().forbidden.clone();
        if let Some((_, why)) = forbidden.filter(|found| found.0 == path)
            && request.method() != Method::GET
        {
            return answer(StatusCode::FORBIDDEN, &failure(StatusCode::FORBIDDEN, &why));
        }
        let query = request.uri().query().unwrap_or_default();
        if request.method() == Method::POST && query.contains("dryRun=All") {
            let body = request.into_body().collect_bytes().await.unwrap();
            return self.probe(serde_json::from_slice(&body).unwrap());
        }
        let answer = self.api.client().send(request).await;
        answer.unwrap()
    }

    /// The webhook takes our annotations off for as long as it is configured.
    fn probe(&self, mut pod: Value) -> Response<Body> {
        let mut behaviour = self.behaviour.lock();
        let number = behaviour.probes;
        behaviour.probes += 1;
        let admitted = behaviour.admit.as_mut().and_then(|admit| admit(number));
        pod["metadata"]["name"] = "outrigger-probe-xyz".into();
        let (status, object) = match admitted {
            Some(Ok(annotations)) => {
                pod["metadata"]["annotations"] = annotations;
                (StatusCode::CREATED, pod)
            }
            Some(Err((status, message))) => (status, failure(status, &message)),
            None => {
                if self.api.get(CONFIGURATION).is_some() {
                    pod["metadata"]["annotations"] = json!({});
                }
                (StatusCode::CREATED, pod)
            }
        };
        answer(status, &object)
    }
}

fn answer(status: StatusCode, object: &Value) -> Response<Body> {
    let mut answer = Response::new(Body::from(object.to_string().into_bytes()));
    *answer.status_mut() = status;
    answer
}

fn failure(status: StatusCode, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "reason": "Failed", "message": message, "code": status.as_u16(),
    })
}

pub(crate) fn path(namespace: &str, name: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

pub(crate) fn pod(gates: &[&str]) -> Value {
    let gates: Vec<_> = gates.iter().map(|name| json!({"name": name})).collect();
    json!({"spec": {"containers": [], "schedulingGates": gates}})
}
