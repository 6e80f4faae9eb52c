//! Function pods come with their consumers, and go after them.

use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::preflights;
use crate::replica::Replica;
use crate::shared::{DOCUMENTS, PODS, SERVICE, put_consumer, scene, until_function_pods};

struct Shared {
    _preflights: AbortOnDropHandle<()>,
}

impl Story for Shared {
    const NAME: &str = "function pods come and go with consumers of two applications";

    async fn begin(_: usize) -> (ApiServer, Shared) {
        let api = scene();
        put_consumer(&api, "s", "shop", "n1", "10.0.0.1");
        put_consumer(&api, "b", "bank", "n2", "10.0.1.1");
        let _preflights = preflights::pass(&api);
        (api, Shared { _preflights })
    }

    async fn play(&self, api: &ApiServer) {
        let first = ("n1", json!({"shop": ["10.0.0.1"]}));
        let second = ("n2", json!({"bank": ["10.0.1.1"]}));
        until_function_pods(api, &[first, second.clone()]).await;
        for path in [SERVICE, DOCUMENTS] {
            api.until(path, |found| found.is_some()).await;
        }
        preflights::until_done(api).await;
        put_consumer(api, "c", "bank", "n1", "10.0.0.2");
        let both = json!({"bank": ["10.0.0.2"], "shop": ["10.0.0.1"]});
        until_function_pods(api, &[("n1", both), second]).await;
        api.delete(&format!("{PODS}b"));
        api.delete(&format!("{PODS}s"));
        until_function_pods(api, &[("n1", json!({"bank": ["10.0.0.2"]}))]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn function_pods_end_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Shared, Replica>().await > 10);
}

#[tokio::test(start_paused = true)]
async fn function_pods_end_the_same_after_any_storm() {
    weather_storms::<Shared, Replica>(0..12).await;
}
