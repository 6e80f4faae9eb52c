//! What is said of data ends the same.

use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::Value;

use crate::cluster::{Cluster, market_path};
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

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Claims, Replica>().await > 1);
}

#[tokio::test(start_paused = true)]
async fn claims_are_told_the_same_after_any_storm() {
    weather_storms::<Claims, Replica>(0..12).await;
}
