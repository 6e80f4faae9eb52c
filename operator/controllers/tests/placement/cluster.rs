//! Nodes, volumes, a workload with data, and the operator beside a scheduler.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use outrigger_api_server::{ApiServer, schedule};
use outrigger_injection::{NamespaceRules, Settings, inject};
use outrigger_plan::{ApplicationPlan, Referenced};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::replica::Replica;

pub(crate) const APPLICATION: &str =
    "/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/risk";
pub(crate) const PODS: &str = "/api/v1/namespaces/store/pods/";
/// More than anything here takes: a test that waits for what does not come ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// An API server with nodes `n1` to `n4`, each with room for ten pods.
pub(crate) struct Cluster {
    pub(crate) api: ApiServer,
}

impl Cluster {
    pub(crate) fn new() -> Cluster {
        let cluster = Cluster {
            api: ApiServer::default(),
        };
        for number in 1..=4 {
            cluster.put_node(&format!("n{number}"), |_| {});
        }
        cluster
    }

    pub(crate) fn lead(&self) -> Replica {
        Replica::lead(self.api.client())
    }

    /// Starts the scheduler.
    pub(crate) fn schedule(&self) -> DropTask {
        DropTask(tokio::spawn(schedule(self.api.clone())))
    }

    pub(crate) fn put_node(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"labels": {"kubernetes.io/hostname": name}},
            "status": {
                "allocatable": {"pods": "10", "cpu": "8", "memory": "16Gi"},
                "conditions": [{"type": "Ready", "status": "True"}],
            },
        });
        change(&mut node);
        self.api.put(&format!("/api/v1/nodes/{name}"), node);
    }

    /// A claim bound to a directory of a node.
    pub(crate) fn put_claim(&self, name: &str, mebibytes: u32, node: &str) {
        let path = format!("/api/v1/namespaces/store/persistentvolumeclaims/{name}");
        self.api.put(
            &path,
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "spec": {"volumeName": format!("pv-{name}"), "storageClassName": "local"},
                "status": {"phase": "Bound"},
            }),
        );
        self.api.put(
            &format!("/api/v1/persistentvolumes/pv-{name}"),
            json!({
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "spec": {
                    "capacity": {"storage": format!("{mebibytes}Mi")},
                    "local": {"path": "/data"},
                    "claimRef": {"namespace": "store", "name": name},
                    "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]},
                    ]}]}},
                },
                "status": {"phase": "Bound"},
            }),
        );
    }

    /// Dataset `market` of claims.
    pub(crate) fn put_market(&self, claims: &[&str]) {
        self.api.put(
            &market_path(),
            json!({
                "apiVersion": "outrigger.dev/v1alpha1",
                "kind": "Dataset",
                "spec": {"persistentVolumeClaims": {"names": claims}},
            }),
        );
    }

    /// Application `risk` for pods with the label `app=risk`, that reads dataset `market`.
    pub(crate) fn put_application(&self, split: Value, locality: Value) {
        let mut hint = json!({"dataset": "market"});
        if !split.is_null() {
            hint["split"] = split;
        }
        let mut spec = json!({"selector": {"matchLabels": {"app": "risk"}}, "data": [hint]});
        if !locality.is_null() {
            spec["locality"] = locality;
        }
        self.api.put(
            APPLICATION,
            json!({
                "apiVersion": "outrigger.dev/v1alpha1",
                "kind": "IntegratedApp",
                "spec": spec,
            }),
        );
    }

    /// Deployment `risk` with so many replicas, and its ReplicaSet.
    pub(crate) fn put_deployment(&self, replicas: u32) {
        self.api.put(
            "/apis/apps/v1/namespaces/store/deployments/risk",
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "spec": {"replicas": replicas, "selector": {}, "template": {}},
            }),
        );
        self.api.put(
            "/apis/apps/v1/namespaces/store/replicasets/risk-1",
            json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet",
                "metadata": {"ownerReferences": [owner("apps/v1", "Deployment", "risk", "uid-d")]},
                "spec": {"replicas": replicas, "selector": {}, "template": {}},
            }),
        );
    }

    /// The owner that a ReplicaSet's pod names.
    pub(crate) fn replica_set(&self) -> Value {
        let found = self
            .api
            .get("/apis/apps/v1/namespaces/store/replicasets/risk-1")
            .unwrap();
        let uid = found["metadata"]["uid"].as_str().unwrap();
        owner("apps/v1", "ReplicaSet", "risk-1", uid)
    }

    /// Creates a pod of application `risk` as the webhook makes it, at the gate.
    pub(crate) fn put_gated(&self, name: &str, change: impl FnOnce(&mut Value)) {
        self.put_pod(name, true, change);
    }

    pub(crate) fn put_pod(&self, name: &str, gated: bool, change: impl FnOnce(&mut Value)) {
        let mut value = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"labels": {"app": "risk", "pod-template-hash": "1"}},
            "spec": {"containers": [{"name": "app", "image": "app:1"}]},
            "status": {"phase": "Pending"},
        });
        change(&mut value);
        let pod: Pod = serde_json::from_value(value.clone()).unwrap();
        let application = serde_json::from_value(self.api.get(APPLICATION).unwrap()).unwrap();
        let plan = ApplicationPlan::new(&application, &Referenced::default()).unwrap();
        let rules = NamespaceRules::default();
        let patch = inject(&pod, &plan, &Settings::default(), &rules, gated).unwrap();
        json_patch::patch(&mut value, &patch).unwrap();
        self.api.put(&format!("{PODS}{name}"), value);
    }

    /// Waits until a pod is as asked for, and returns it.
    pub(crate) async fn pod(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let path = format!("{PODS}{name}");
        let wanted = |found: Option<&Value>| found.is_some_and(&wanted);
        patiently(name, self.api.until(&path, wanted)).await;
        self.api.get(&path).unwrap()
    }

    /// Waits until a pod is on a node, and returns its name.
    pub(crate) async fn bound(&self, name: &str) -> String {
        let pod = self
            .pod(name, |pod| pod["spec"]["nodeName"].is_string())
            .await;
        pod["spec"]["nodeName"].as_str().unwrap().to_owned()
    }

    /// Waits until the status of application `risk` is as asked for, and returns it.
    pub(crate) async fn status(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let wanted = |found: Option<&Value>| found.is_some_and(|found| wanted(&found["status"]));
        patiently("status", self.api.until(APPLICATION, wanted)).await;
        self.api.get(APPLICATION).unwrap()["status"].clone()
    }

    /// Waits until the condition `Ready` has a reason, and returns its message.
    pub(crate) async fn says(&self, reason: &str) -> String {
        let ready = |status: &Value| status["conditions"][0]["reason"] == reason;
        let status = self.status(ready).await;
        let message = &status["conditions"][0]["message"];
        message.as_str().unwrap().to_owned()
    }

    /// The node of each pod.
    pub(crate) fn places(&self) -> BTreeMap<String, String> {
        let pods = self.api.under(PODS);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        pods.iter()
            .map(|pod| {
                (
                    text(&pod["metadata"]["name"]),
                    text(&pod["spec"]["nodeName"]),
                )
            })
            .collect()
    }

    /// Reasons of the events, each with the pod that it is about.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let events = self
            .api
            .under("/apis/events.k8s.io/v1/namespaces/store/events/");
        let about_pods = events
            .iter()
            .filter(|event| event["related"]["kind"] == "Pod");
        about_pods
            .map(|event| {
                let text = |value: &Value| value.as_str().unwrap().to_owned();
                (text(&event["reason"]), text(&event["related"]["name"]))
            })
            .collect()
    }

    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.api.get(path).unwrap();
        change(&mut object);
        self.api.put(path, object);
    }
}

/// A task that ends when it is dropped.
pub(crate) struct DropTask(pub(crate) JoinHandle<()>);

impl Drop for DropTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn market_path() -> String {
    "/apis/outrigger.dev/v1alpha1/namespaces/store/datasets/market".to_owned()
}

pub(crate) fn owner(api_version: &str, kind: &str, name: &str, uid: &str) -> Value {
    json!({
        "apiVersion": api_version, "kind": kind, "name": name, "uid": uid, "controller": true,
    })
}

pub(crate) async fn patiently<T>(what: &str, wait: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, wait).await {
        Ok(done) => done,
        Err(_) => panic!("{what} does not become as asked for"),
    }
}

/// Whether a pod waits at our gate.
pub(crate) fn is_gated(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    let mut gates = gates.into_iter().flatten();
    gates.any(|gate| gate["name"] == "outrigger.dev/placement")
}

/// The explanation that a pod carries.
pub(crate) fn explanation(pod: &Value) -> Value {
    let text = &pod["metadata"]["annotations"]["outrigger.dev/placement"];
    serde_json::from_str(text.as_str().unwrap()).unwrap()
}
