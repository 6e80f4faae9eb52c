//! What is said of data ends the same.

use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::{Value, json};

use crate::cluster::{Cluster, DropTask, market_path};
use crate::name_node::NameNode;
use crate::namespace::{MIB, Namespace};
use crate::placement::created_now;
use crate::replica::Replica;

/// Waits until the Dataset says something.
async fn tells(api: &ApiServer, wanted: &str) {
    let says = |found: Option<&Value>| {
        let message = found.map(|found| &found["status"]["conditions"][0]["message"]);
        message.and_then(Value::as_str) == Some(wanted)
    };
    api.until(&market_path(), says).await;
}

/// A claim is missing, comes, and loses its volume.
struct Claims(Cluster);

impl Story for Claims {
    const NAME: &str = "the claims of a dataset come and go";

    async fn begin(_: usize) -> (ApiServer, Claims) {
        let cluster = Cluster::new();
        cluster.put_claim("m1", 100, "n1");
        cluster.put_market(&["m1", "m2"]);
        (cluster.api.clone(), Claims(cluster))
    }

    async fn play(&self, api: &ApiServer) {
        let only = "100.0 MiB in 1 claim on n1";
        let missing = format!("PersistentVolumeClaim m2 does not exist in namespace store; {only}");
        tells(api, &missing).await;
        self.0.put_claim("m2", 50, "n2");
        tells(
            api,
            "150.0 MiB in 2 claims on 2 nodes; n1 holds most, 100.0 MiB",
        )
        .await;
        api.delete("/api/v1/namespaces/store/persistentvolumeclaims/m2");
        tells(api, &missing).await;
    }
}

/// Pods get the nodes of files in HDFS, of which there are more than at first.
struct Files {
    cluster: Cluster,
    _name_node: NameNode,
    _scheduler: DropTask,
}

impl Story for Files {
    const NAME: &str = "pods get the nodes of files in HDFS";

    /// Each NameNode has a port of its own.
    const PASSING: &[&str] = &["nameNodes"];

    async fn begin(_: usize) -> (ApiServer, Files) {
        let mut namespace = Namespace::with(4)
            .file("/market/a", &[(2 * MIB, &[1, 2])])
            .file("/market/b", &[(MIB, &[1])])
            .file("/rates/a", &[(8 * MIB, &[3]), (MIB, &[4])]);
        for (number, data_node) in (1..).zip(&mut namespace.data_nodes) {
            data_node.host = format!("n{number}");
        }
        let (_name_node, _) = namespace.serve().await;
        let cluster = Cluster::new();
        let hdfs = json!({"nameNodes": [_name_node.url()], "paths": ["/market"]});
        let market = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "Dataset", "spec": {"hdfs": hdfs},
        });
        let api = cluster.api.clone();
        api.put(&market_path(), market);
        cluster.put_application(Value::Null, json!({"mode": "Required"}));
        cluster.put_gated("risk-0", created_now);
        let _scheduler = cluster.schedule();
        let story = Files {
            cluster,
            _name_node,
            _scheduler,
        };
        (api, story)
    }

    async fn play(&self, api: &ApiServer) {
        tells(api, "3.0 MiB in 2 files on 2 nodes; n1 holds most, 3.0 MiB").await;
        assert_eq!(self.cluster.bound("risk-0").await, "n1");
        self.cluster.edit(&market_path(), |market| {
            market["spec"]["hdfs"]["paths"] = json!(["/market", "/rates"]);
        });
        let more = "12.0 MiB in 3 files on 4 nodes; n3 holds most, 8.0 MiB";
        tells(api, more).await;
        self.cluster.put_gated("risk-1", created_now);
        assert_eq!(self.cluster.bound("risk-1").await, "n3");
        self.cluster.says("Succeeded").await;
    }
}

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Claims, Replica>().await > 1);
}

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_after_any_storm() {
    weather_storms::<Claims, Replica>(0..12).await;
}

#[tokio::test]
async fn pods_get_the_nodes_of_files_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Files, Replica>().await > 5);
}

#[tokio::test]
async fn pods_get_the_nodes_of_files_after_any_storm() {
    weather_storms::<Files, Replica>(0..12).await;
}
