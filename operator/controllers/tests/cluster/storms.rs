//! Any call may fail.

use kube::Client;
use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, weather_storms};
use serde_json::{Value, json};

use crate::leader::{Leader, application_path, config_map_path, pod_path, shop, sidecar_path};

/// The documents of an application come, and go with the last pod that carries its sidecar.
struct Documents(ApiServer);

impl Documents {
    async fn says(&self, reason: &str) {
        let says = |found: Option<&Value>| {
            let ready = found.map(|found| &found["status"]["conditions"][0]);
            ready.is_some_and(|ready| ready["reason"] == reason)
        };
        self.0.until(&application_path("shop"), says).await;
    }

    async fn carried_by(&self, pods: u32) {
        let counts = |found: Option<&Value>| {
            found.is_some_and(|found| found["status"]["pods"]["total"] == pods)
        };
        self.0.until(&sidecar_path("orders"), counts).await;
    }
}

impl Story for Documents {
    type Leader = Leader;

    async fn begin(_: usize) -> Documents {
        Documents(shop())
    }

    fn api(&self) -> &ApiServer {
        &self.0
    }

    fn lead(&self, client: Client) -> Leader {
        Leader::with(&self.0, client)
    }

    async fn play(&self) {
        let documents = config_map_path("outrigger.shop.orders");
        self.says("Succeeded").await;
        self.carried_by(1).await;
        let mut shop = self.0.get(&application_path("shop")).unwrap();
        shop["spec"]["sidecars"] = json!([]);
        self.0.put(&application_path("shop"), shop);
        self.says("RequiresRecreate").await;
        assert!(self.0.get(&documents).is_some(), "the pod still reads it");
        self.0.delete(&pod_path("a"));
        self.0.until(&documents, |found| found.is_none()).await;
        self.says("Succeeded").await;
        self.carried_by(0).await;
    }
}

#[tokio::test]
async fn documents_come_and_go_in_any_storm() {
    weather_storms::<Documents>(0..12).await;
}
