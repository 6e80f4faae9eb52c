//! What is said of data ends the same.

use kube::Client;
use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::replica::Replica;

/// Waits until a Dataset says something.
async fn tells(api: &ApiServer, name: &str, wanted: &str) {
    let path = format!("/apis/outrigger.dev/v1alpha1/namespaces/store/datasets/{name}");
    let says = |found: Option<&Value>| {
        let message = found.map(|found| &found["status"]["conditions"][0]["message"]);
        message.and_then(Value::as_str) == Some(wanted)
    };
    api.until(&path, says).await;
}

/// A claim is missing, comes, and loses its volume.
struct Claims(Cluster);

impl Story for Claims {
    type Leader = Replica;

    const NAME: &str = "the claims of a dataset come and go";

    async fn begin(_: usize) -> Claims {
        let cluster = Cluster::new();
        cluster.put_claim("m1", 100, "n1");
        cluster.put_market(&["m1", "m2"]);
        Claims(cluster)
    }

    fn api(&self) -> &ApiServer {
        &self.0.api
    }

    fn lead(&self, client: Client) -> Replica {
        Replica::lead(client)
    }

    async fn play(&self) {
        let only = "100.0 MiB in 1 claim on n1";
        let missing = format!("PersistentVolumeClaim m2 does not exist in namespace store; {only}");
        tells(&self.0.api, "market", &missing).await;
        self.0.put_claim("m2", 50, "n2");
        tells(
            &self.0.api,
            "market",
            "150.0 MiB in 2 claims on 2 nodes; n1 holds most, 100.0 MiB",
        )
        .await;
        self.0
            .api
            .delete("/api/v1/namespaces/store/persistentvolumeclaims/m2");
        tells(&self.0.api, "market", &missing).await;
    }
}

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Claims>().await > 1);
}

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_after_any_storm() {
    weather_storms::<Claims>(0..12).await;
}
