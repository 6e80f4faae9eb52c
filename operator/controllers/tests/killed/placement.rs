//! Pods get their nodes.

use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::{Value, json};

use crate::cluster::{APPLICATION, Cluster, DropTask, PODS, is_gated, patiently};
use crate::replica::Replica;

/// 100 MiB on `n1`, 50 MiB on `n2`, both with one place, and an application that needs them.
fn ground(locality: Value) -> Cluster {
    let cluster = Cluster::new();
    for node in ["n1", "n2"] {
        cluster.put_node(node, |node| {
            node["status"]["allocatable"]["pods"] = "1".into()
        });
    }
    cluster.put_claim("m1", 100, "n1");
    cluster.put_claim("m2", 50, "n2");
    cluster.put_market(&["m1", "m2"]);
    cluster.put_application(Value::Null, locality);
    cluster
}

pub(crate) fn created_now(pod: &mut Value) {
    pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
}

/// Two pods get a node each.
struct Placed {
    cluster: Cluster,
    _scheduler: DropTask,
}

impl Story for Placed {
    const NAME: &str = "two pods get a node each";

    /// What is said of the other node depends on whether the first pod is there already.
    const PASSING: &[&str] = &["excluded", "reason", "runnerUp", "runnerUpBytes"];

    async fn begin(_: usize) -> (ApiServer, Placed) {
        let cluster = ground(json!({"mode": "Required"}));
        for number in 0..2 {
            cluster.put_gated(&format!("risk-{number}"), created_now);
        }
        let _scheduler = cluster.schedule();
        let api = cluster.api.clone();
        (
            api,
            Placed {
                cluster,
                _scheduler,
            },
        )
    }

    async fn play(&self, _: &ApiServer) {
        for (pod, node) in [("risk-0", "n1"), ("risk-1", "n2")] {
            assert_eq!(self.cluster.bound(pod).await, node);
        }
        self.cluster.says("Succeeded").await;
    }
}

/// A pod finds its node full, and its replacement is planned elsewhere.
struct Replaced {
    cluster: Cluster,
}

impl Story for Replaced {
    const NAME: &str = "a pod finds its node full, and its replacement is planned elsewhere";

    async fn begin(_: usize) -> (ApiServer, Replaced) {
        let cluster = ground(json!({"mode": "Required", "bindTimeoutSeconds": 0}));
        cluster.put_deployment(1);
        let story = Replaced { cluster };
        story.replica("risk-0");
        (story.cluster.api.clone(), story)
    }

    async fn play(&self, api: &ApiServer) {
        let cluster = &self.cluster;
        cluster.pod("risk-0", |pod| !is_gated(pod)).await;
        api.put(
            &format!("{PODS}other"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "spec": {"containers": [{"name": "c"}], "nodeName": "n1"},
                "status": {"phase": "Running"},
            }),
        );
        let _scheduler = cluster.schedule();
        let gone = |found: Option<&Value>| found.is_none();
        let path = format!("{PODS}risk-0");
        patiently("deletion", api.until(&path, gone)).await;
        // Otherwise the replacement would go too, before it is seen that it is bound.
        cluster.edit(APPLICATION, |application| {
            application["spec"]["locality"]["bindTimeoutSeconds"] = 300.into();
        });
        let effective =
            |status: &Value| status["placement"]["effective"]["bindTimeoutSeconds"] == 300;
        cluster.status(effective).await;
        self.replica("risk-1");
        assert_eq!(cluster.bound("risk-1").await, "n2");
        cluster.says("Succeeded").await;
    }
}

impl Replaced {
    fn replica(&self, name: &str) {
        let replica_set = self.cluster.replica_set();
        self.cluster.put_gated(name, |pod| {
            pod["metadata"]["ownerReferences"] = json!([replica_set]);
            created_now(pod);
        });
    }
}

#[tokio::test]
async fn pods_get_the_same_nodes_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Placed, Replica>().await > 3);
}

#[tokio::test]
async fn a_replacement_is_planned_elsewhere_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Replaced, Replica>().await > 5);
}

#[tokio::test]
async fn pods_get_the_same_nodes_after_any_storm() {
    weather_storms::<Placed, Replica>(0..12).await;
}

#[tokio::test]
async fn a_replacement_is_planned_elsewhere_after_any_storm() {
    weather_storms::<Replaced, Replica>(0..12).await;
}
