//! The operator may be killed between any two calls, and any call may fail.

use kube::Client;
use outrigger_api_server::ApiServer;
use outrigger_faults::{Story, crash_after_every_write, weather_storms};

use crate::node::Node;
use crate::replica::Replica;
use crate::shop::{SIDECAR, is_updated, preflights, set_image, shop};

/// A new image is swapped into a running pod.
struct Swap {
    api: ApiServer,
    _node: Node,
}

impl Story for Swap {
    type Leader = Replica;

    async fn begin(number: usize) -> Swap {
        let api = shop(0);
        // Its slots have an address of their own.
        let ip = format!("127.0.{}.{}", 16 + number / 250, 1 + number % 250);
        let node = Node::start(&api, &ip).await;
        Swap { api, _node: node }
    }

    fn api(&self) -> &ApiServer {
        &self.api
    }

    fn lead(&self, client: Client) -> Replica {
        Replica::lead(client)
    }

    async fn play(&self) {
        is_updated(&self.api, "sidecar:1").await;
        set_image(&self.api, "sidecar:2");
        is_updated(&self.api, "sidecar:2").await;
        self.api
            .until(SIDECAR, |_| preflights(&self.api) == 0)
            .await;
    }
}

#[tokio::test]
async fn a_swap_ends_the_same_whenever_the_operator_is_killed() {
    assert!(crash_after_every_write::<Swap>().await > 15);
}

#[tokio::test]
async fn a_swap_ends_the_same_after_any_storm() {
    weather_storms::<Swap>(0..12).await;
}
