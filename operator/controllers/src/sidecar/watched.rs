use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use outrigger_api::IntegrationSidecar;
use outrigger_control::layout::PREFLIGHT_LABEL;
use outrigger_lookup::{Feed, Mirror};
use outrigger_runtime::{Backoff, Backoffs};
use tokio_util::sync::CancellationToken;

use super::configuration::Settling;
use super::memory::Memory;
use super::slots::Slots;
use super::successors::Known;
use crate::context::{Context, MANAGED_BY_LABEL, MANAGER};

/// What the controller works with, beside the context of both.
pub(super) struct Watched {
    pub(super) context: Arc<Context>,
    /// The ControllerRevisions of all sidecars.
    pub(super) revisions: Mirror<ControllerRevision>,
    /// The preflight pods of all sidecars.
    pub(super) trials: Mirror<Pod>,
    pub(super) slots: Slots,
    pub(super) settling: Settling,
    /// The controllers that had pods in a rollout: one whose last pod was evicted has none that
    /// would tell of it.
    pub(super) controllers: Memory<Known>,
    /// Names of the pods whose evictions were refused, see [`super::refusals`].
    pub(super) refusals: Memory<Vec<String>>,
    /// Looks in a row after which something could not be written because it had changed, by UID.
    pub(super) overtaken: Backoffs<String>,
}

/// Pauses before another look at what somebody else changed in the meantime.
const OVERTAKEN: Backoff = Backoff {
    first: Duration::from_millis(100),
    limit: Duration::from_secs(5),
};

/// Keeps the mirrors of [`Watched`] current.
pub(super) struct Feeds {
    revisions: Feed<ControllerRevision>,
    trials: Feed<Pod>,
}

impl Watched {
    pub(super) fn new(context: Arc<Context>) -> (Arc<Watched>, Feeds) {
        let (revisions, revisions_feed) = Mirror::new();
        let (trials, trials_feed) = Mirror::new();
        let watched = Watched {
            context,
            revisions,
            trials,
            slots: Slots::new(),
            settling: Settling::default(),
            controllers: Memory::default(),
            refusals: Memory::default(),
            overtaken: Backoffs::new(OVERTAKEN),
        };
        let feeds = Feeds {
            revisions: revisions_feed,
            trials: trials_feed,
        };
        (Arc::new(watched), feeds)
    }

    /// Waits until everything that is mirrored is known; whether that came before the end.
    pub(super) async fn synced(&self) -> bool {
        self.revisions.synced().await && self.trials.synced().await
    }
}

impl Feeds {
    /// Follows the cluster until `stop`.
    pub(super) async fn run(self, client: Client, stop: CancellationToken) {
        let ours = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
        let revisions = watcher::watcher(Api::<ControllerRevision>::all(client.clone()), ours)
            .modify(|revision| revision.managed_fields_mut().clear());
        let labelled = watcher::Config::default().labels(PREFLIGHT_LABEL);
        let trials = watcher::watcher(Api::<Pod>::all(client), labelled)
            .modify(|pod| pod.managed_fields_mut().clear());
        tokio::join!(
            self.revisions.run(revisions, stop.clone()),
            self.trials.run(trials, stop),
        );
    }
}

/// `NAMESPACE/NAME` of a sidecar.
pub(super) fn key(sidecar: &IntegrationSidecar) -> String {
    let namespace = sidecar.namespace().unwrap_or_default();
    format!("{namespace}/{}", sidecar.name_any())
}
