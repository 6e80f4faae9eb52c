//! What an application needs comes and goes, and pods without it are replaced.

use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use crate::evicting::{evicting, put_bare, put_right, until_gone};
use crate::leader::{application_path, config_map_path, pod_path, shop, sidecar_path};
use crate::preflights;
use crate::replica::Replica;
use crate::webhook::with_webhook;

/// The documents of an application come, and go with the last pod that carries its sidecar.
struct Documents {
    _preflights: AbortOnDropHandle<()>,
}

/// Waits until the application's condition `Ready` has a reason for its newest spec.
async fn says(api: &ApiServer, reason: &str) {
    let says = |found: Option<&Value>| {
        found.is_some_and(|found| {
            let ready = &found["status"]["conditions"][0];
            ready["reason"] == reason
                && ready["observedGeneration"] == found["metadata"]["generation"]
        })
    };
    api.until(&application_path("shop"), says).await;
}

async fn carried_by(api: &ApiServer, pods: u32) {
    let counts =
        |found: Option<&Value>| found.is_some_and(|found| found["status"]["pods"]["total"] == pods);
    api.until(&sidecar_path("orders"), counts).await;
}

impl Story for Documents {
    const NAME: &str = "documents of an application come and go";

    async fn begin(_: usize) -> (ApiServer, Documents) {
        let api = shop();
        let _preflights = preflights::pass(&api);
        (api, Documents { _preflights })
    }

    async fn play(&self, api: &ApiServer) {
        let documents = config_map_path("outrigger.shop.orders");
        says(api, "Succeeded").await;
        carried_by(api, 1).await;
        // Whether the image is tried at all depends on what is seen before the next edit.
        preflights::until_done(api).await;
        let mut shop = api.get(&application_path("shop")).unwrap();
        shop["spec"]["sidecars"] = json!([]);
        api.put(&application_path("shop"), shop);
        says(api, "RequiresRecreate").await;
        assert!(api.get(&documents).is_some(), "the pod still reads it");
        api.delete(&pod_path("a"));
        api.until(&documents, |found| found.is_none()).await;
        says(api, "Succeeded").await;
        carried_by(api, 0).await;
    }
}

/// Pods without sidecars are evicted one after another, and their successors have them.
struct Repaired {
    _preflights: AbortOnDropHandle<()>,
}

impl Story for Repaired {
    const NAME: &str = "pods without sidecars are replaced";

    async fn begin(_: usize) -> (ApiServer, Repaired) {
        let api = evicting(2);
        with_webhook(&api);
        put_bare(&api, "a");
        put_bare(&api, "b");
        let _preflights = preflights::pass(&api);
        (api, Repaired { _preflights })
    }

    async fn play(&self, api: &ApiServer) {
        preflights::until_done(api).await;
        for (former, successor) in [("a", "c"), ("b", "d")] {
            until_gone(api, former).await;
            put_right(api, successor);
        }
        says(api, "Succeeded").await;
    }
}

#[tokio::test(start_paused = true)]
async fn documents_end_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Documents, Replica>().await > 5);
}

#[tokio::test(start_paused = true)]
async fn documents_end_the_same_after_any_storm() {
    weather_storms::<Documents, Replica>(0..12).await;
}

#[tokio::test(start_paused = true)]
async fn pods_are_replaced_once_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Repaired, Replica>().await > 5);
}

#[tokio::test(start_paused = true)]
async fn pods_are_replaced_after_any_storm() {
    weather_storms::<Repaired, Replica>(0..12).await;
}
