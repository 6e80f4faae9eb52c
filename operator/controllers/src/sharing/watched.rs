use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use outrigger_lookup::{Feed, Mirror};
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use crate::context::{Context, MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// What the controller works with, beside the context of all.
pub(super) struct Watched {
    pub(super) context: Arc<Context>,
    /// The Services of shared sidecars.
    pub(super) services: Mirror<Service>,
    pub(super) memory: Memory,
}

impl Watched {
    pub(super) fn new(context: Arc<Context>) -> (Arc<Watched>, Feed<Service>) {
        let (services, feed) = Mirror::new();
        let watched = Watched {
            context,
            services,
            memory: Memory::default(),
        };
        (Arc::new(watched), feed)
    }

    /// Waits until everything that is mirrored is known; whether that came before the end.
    pub(super) async fn synced(&self) -> bool {
        self.context.synced().await && self.services.synced().await
    }
}

/// Follows the Services until `stop`.
pub(super) async fn follow(feed: Feed<Service>, client: Client, stop: CancellationToken) {
    let ours = format!("{MANAGED_BY_LABEL}={MANAGER},{SIDECAR_LABEL}");
    let ours = watcher::Config::default().labels(&ours);
    let services = watcher::watcher(Api::<Service>::all(client), ours)
        .modify(|service| service.managed_fields_mut().clear());
    feed.run(services, stop).await;
}
