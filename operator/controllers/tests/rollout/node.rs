//! As much of a kubelet as a swap needs: it runs preflight pods, replaces containers whose image
//! changed, and its slots answer on their admin ports.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use outrigger_api_server::ApiServer;
use outrigger_control::{Order, Slot, layout};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const PODS: &str = "/api/v1/namespaces/store/pods/";

/// What goes wrong with an image, by its digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be pulled.
    Missing,
    /// Its preflight never ends.
    #[allow(dead_code, reason = "only stories of killed operators need it")]
    Hangs,
    /// Its worker ends when it has begun to serve.
    Crashes,
    /// It refuses documents with this in them.
    Refuses,
}

/// A kubelet and its slots.
pub(crate) struct Node {
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
    _stop: DropGuard,
}

impl Node {
    /// Runs the pods of an API server, whose slots have an address of their own.
    pub(crate) async fn start(api: &ApiServer, ip: &str) -> Node {
        let stop = CancellationToken::new();
        let faults: Arc<Mutex<Vec<(String, Fault)>>> = Arc::default();
        let kubelet = Kubelet {
            api: api.clone(),
            client: api.client(),
            ip: ip.to_owned(),
            faults: Arc::clone(&faults),
        };
        let kubelet = Arc::new(kubelet);
        for slot in Slot::BOTH {
            let address = SocketAddr::new(ip.parse().unwrap(), layout::admin_port(0, slot));
            let listener = TcpListener::bind(address).await.unwrap();
            let serving = serve(Arc::clone(&kubelet), listener, slot);
            tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
        }
        tokio::spawn(stop.clone().run_until_cancelled_owned(kubelet.run()));
        Node {
            faults,
            _stop: stop.drop_guard(),
        }
    }

    /// Gives an image a fault.
    pub(crate) fn spoil(&self, image: &str, fault: Fault) {
        self.faults.lock().push((digest(image), fault));
    }

    pub(crate) fn mend(&self) {
        self.faults.lock().clear();
    }
}

/// The digest that an image has in the registry.
pub(crate) fn digest(image: &str) -> String {
    match image.split_once('@') {
        Some((_, digest)) => digest.to_owned(),
        None => format!("sha256:{}", image.replace([':', '/'], "-")),
    }
}

struct Kubelet {
    api: ApiServer,
    client: Client,
    ip: String,
    faults: Arc<Mutex<Vec<(String, Fault)>>>,
}

impl Kubelet {
    async fn run(self: Arc<Self>) {
        loop {
            let seen = self.api.under(PODS);
            let mut acted = false;
            for pod in &seen {
                acted |= self.sync(pod).await;
            }
            if !acted {
                // Its condition is looked at with every change of any object.
                let changed = |_: Option<&Value>| self.api.under(PODS) != seen;
                self.api.until(PODS, changed).await;
            }
        }
    }

    fn has(&self, image: &str, fault: Fault) -> bool {
        let digest = digest(image);
        self.faults.lock().contains(&(digest, fault))
    }

    async fn sync(&self, pod: &Value) -> bool {
        let name = pod["metadata"]["name"].as_str().unwrap();
        let status = match pod["metadata"]["labels"][layout::PREFLIGHT_LABEL].is_null() {
            true => self.slots(pod),
            false => self.preflight(pod),
        };
        if pod["status"] == status {
            return false;
        }
        let pods = Api::<Pod>::namespaced(self.client.clone(), "store");
        let status = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        let patched = pods.patch_status(name, &parameters, &status).await;
        patched.is_ok()
    }

    fn preflight(&self, pod: &Value) -> Value {
        let image = pod["spec"]["containers"][0]["image"].as_str().unwrap();
        let missing = json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}});
        let state = match () {
            () if self.has(image, Fault::Missing) => missing,
            () if self.has(image, Fault::Hangs) => json!({"running": {}}),
            () => json!({"terminated": {"exitCode": 0}}),
        };
        json!({"phase": "Running", "containerStatuses": [{
            "name": "preflight", "image": image, "imageID": format!("repo@{}", digest(image)),
            "ready": false, "restartCount": 0, "state": state,
        }]})
    }

    /// The next status: first the spec is seen and an outdated container ends, then a new one runs.
    fn slots(&self, pod: &Value) -> Value {
        let generation = &pod["metadata"]["generation"];
        let former = pod["status"]["initContainerStatuses"].as_array();
        let statuses: Vec<_> = pod["spec"]["initContainers"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
            .map(|(index, container)| {
                let (name, image) = (&container["name"], container["image"].as_str().unwrap());
                let former = former.and_then(|former| former.get(index));
                let running = |id: String, last: Value| {
                    json!({
                        "name": name, "image": image, "imageID": format!("repo@{}", digest(image)),
                        "ready": true, "restartCount": 0, "containerID": id,
                        "state": {"running": {}}, "lastState": last,
                    })
                };
                match former {
                    None => running(format!("{name} {generation}"), json!({})),
                    Some(former) if former["image"] == image => former.clone(),
                    Some(former) if former["state"]["terminated"].is_null() => {
                        let mut ended = former.clone();
                        ended["state"] = json!({"terminated": {
                            "exitCode": 0, "containerID": former["containerID"],
                        }});
                        // A merge leaves what it does not name.
                        ended["state"]["running"] = Value::Null;
                        ended
                    }
                    Some(former) => {
                        let mut next = running(
                            format!("{name} {generation}"),
                            json!({"terminated": {
                                "exitCode": 0, "containerID": former["containerID"],
                            }}),
                        );
                        next["state"]["terminated"] = Value::Null;
                        next
                    }
                }
            })
            .collect();
        json!({
            "phase": "Running", "podIP": self.ip, "observedGeneration": generation,
            "conditions": [{"type": "Ready", "status": "True"}],
            "initContainerStatuses": statuses,
        })
    }

    /// What a slot says: it has obeyed its order at once.
    fn report(&self, slot: Slot) -> Value {
        let pods = self.api.under(PODS);
        let pod = pods
            .iter()
            .find(|pod| pod["metadata"]["labels"][layout::PREFLIGHT_LABEL].is_null())
            .unwrap();
        let annotation = &pod["metadata"]["annotations"][layout::order_annotation("orders")];
        let order = Order::parse(annotation.as_str().unwrap()).unwrap();
        let image = |slot: Slot| {
            let index = usize::from(slot == Slot::B);
            pod["spec"]["initContainers"][index]["image"]
                .as_str()
                .unwrap()
        };
        let rescued = self.has(image(order.active), Fault::Crashes);
        let active = match rescued {
            true => order.active.peer(),
            false => order.active,
        };
        let config = order.config.of(slot);
        let configuration = match self.has(image(slot), Fault::Refuses) && order.term == 1 {
            true => json!({"hash": "former", "refused": {"hash": config, "message": "no"}}),
            false => json!({"hash": config}),
        };
        json!({
            "sidecar": "orders", "slot": slot, "version": "1",
            "role": if active == slot { "Active" } else { "Standby" },
            "pair": {"term": order.term, "takeover": u64::from(rescued)},
            "orderTerm": order.term, "warm": true, "configuration": configuration,
            "workerRestarts": u64::from(rescued && slot == order.active), "drained": active != slot,
            "traffic": {"connections": 0, "inFlight": 0, "answered": 0, "serverErrors": 0},
            "handover": {"completed": 0, "aborted": 0, "connections": 0, "commitMicros": 0},
        })
    }
}

async fn serve(kubelet: Arc<Kubelet>, listener: TcpListener, slot: Slot) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let kubelet = Arc::clone(&kubelet);
        let answer = service_fn(move |request: Request<hyper::body::Incoming>| {
            assert_eq!(request.uri().path(), "/status");
            let report = kubelet.report(slot).to_string();
            async move { Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(report))) }
        });
        // A client may go away at any time.
        tokio::spawn(async move {
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}
