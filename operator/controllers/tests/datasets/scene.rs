//! A replica that leads, nodes, and Datasets.

use std::time::Duration;

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::name_node::NameNode;
use crate::replica::Replica;

/// What passes between two looks of a test. The runtime looks at its sockets several times within
/// what any request may take.
const STEP: Duration = Duration::from_millis(1);
/// What never comes is given up after so many steps.
const STEPS: usize = 300_000;

/// Everything happens in time that passes only while a test waits, and only by [`STEP`].
pub(crate) struct Scene {
    pub(crate) api: ApiServer,
    _replica: Replica,
}

impl Scene {
    /// Leads, over nodes `node-1` to `node-4`.
    pub(crate) fn start() -> Scene {
        let api = ApiServer::default();
        for number in 1..=4 {
            api.put(&node_path(&format!("node-{number}")), node(true));
        }
        Scene::lead(&api)
    }

    /// Leads over what there is.
    pub(crate) fn lead(api: &ApiServer) -> Scene {
        Scene {
            api: api.clone(),
            _replica: Replica::lead(api.client()),
        }
    }

    /// Lets time pass until something is as it should be.
    pub(crate) async fn until(&self, wanted: impl Fn() -> bool, what: &str) {
        for _ in 0..STEPS {
            if wanted() {
                return;
            }
            tokio::time::advance(STEP).await;
        }
        panic!("{what} did not come about");
    }

    /// Waits until the condition `Ready` of a Dataset has a reason, and returns the whole status.
    pub(crate) async fn says(&self, name: &str, reason: &str) -> Value {
        let says = |status: &Value| {
            let ready = &status["conditions"][0];
            ready["type"] == "Ready" && ready["reason"] == reason
        };
        self.until_status(name, says, reason).await
    }

    /// The same, and returns the message.
    pub(crate) async fn message(&self, name: &str, reason: &str) -> String {
        message(&self.says(name, reason).await)
    }

    /// Waits until a Dataset's status has a message.
    pub(crate) async fn tells(&self, name: &str, wanted: &str) -> Value {
        self.until_status(name, |status| message(status) == wanted, wanted)
            .await
    }

    async fn until_status(&self, name: &str, wanted: impl Fn(&Value) -> bool, what: &str) -> Value {
        let path = dataset_path(name);
        let status = || self.api.get(&path).unwrap()["status"].clone();
        for _ in 0..STEPS {
            let found = status();
            if wanted(&found) {
                return found;
            }
            tokio::time::advance(STEP).await;
        }
        panic!("{name} does not say {what}: {:#?}", status());
    }

    /// Changes an object like somebody else would.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.api.get(path).unwrap();
        change(&mut object);
        self.api.put(path, object);
    }

    /// Creates a Dataset of paths in HDFS.
    pub(crate) fn hdfs(&self, name: &str, servers: &[&NameNode], paths: &[&str]) {
        let servers: Vec<String> = servers.iter().map(|server| server.url()).collect();
        self.put_hdfs(
            name,
            json!({"nameNodes": servers, "paths": paths, "requestsPerSecond": 10_000}),
        );
    }

    pub(crate) fn put_hdfs(&self, name: &str, hdfs: Value) {
        self.put(
            name,
            json!({"hdfs": hdfs, "refresh": {"intervalSeconds": 5}}),
        );
    }

    pub(crate) fn put(&self, name: &str, spec: Value) {
        let dataset = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "Dataset", "spec": spec,
        });
        self.api.put(&dataset_path(name), dataset);
    }

    /// Whether a node is ready.
    pub(crate) fn set_ready(&self, name: &str, ready: bool) {
        self.edit(&node_path(name), |found| {
            found["status"] = node(ready)["status"].clone();
        });
    }
}

pub(crate) fn message(status: &Value) -> String {
    let message = status["conditions"][0]["message"].as_str();
    message.unwrap_or_default().to_owned()
}

/// Bytes by node, as a status has them.
pub(crate) fn nodes(status: &Value) -> Vec<(String, u64)> {
    let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
    let node = |node: &Value| {
        let name = node["name"].as_str().unwrap().to_owned();
        (name, node["bytes"].as_u64().unwrap())
    };
    nodes.iter().map(node).collect()
}

pub(crate) fn on<const N: usize>(nodes: [(&str, u64); N]) -> Vec<(String, u64)> {
    nodes.map(|(name, bytes)| (name.to_owned(), bytes)).to_vec()
}

pub(crate) fn dataset_path(name: &str) -> String {
    format!("/apis/outrigger.dev/v1alpha1/namespaces/risk/datasets/{name}")
}

pub(crate) fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}

/// A node that was created at the first second of 2026.
pub(crate) fn node(ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "status": {"conditions": [{
            "type": "Ready", "status": if ready { "True" } else { "Unknown" },
            "lastHeartbeatTime": "2026-01-01T00:00:00Z",
        }]},
    })
}
