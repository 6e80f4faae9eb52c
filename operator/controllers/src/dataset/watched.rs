use std::sync::Arc;

use outrigger_runtime::{Backoff, Backoffs};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::{HdfsAccess, Policy};
use super::scans::Scans;
use crate::context::Context;

/// Datasets whose status is looked at at a time, so that a start with many of them leaves the API
/// server to others too. Scans are limited apart: a long one keeps no other Dataset waiting.
const LOOKS: usize = 8;

/// What the controller works with, beside the context of all.
pub(super) struct Watched {
    pub(super) context: Arc<Context>,
    pub(super) scans: Scans,
    pub(super) policy: Policy,
    /// Scans in a row that failed, by UID.
    pub(super) failing: Backoffs<String>,
    pub(super) looks: Semaphore,
    pub(super) stop: CancellationToken,
}

impl Watched {
    pub(super) fn new(
        context: Arc<Context>,
        access: HdfsAccess,
        stop: CancellationToken,
    ) -> Arc<Watched> {
        Arc::new(Watched {
            context,
            scans: Scans::default(),
            policy: Policy::new(access),
            failing: Backoffs::new(Backoff::default()),
            looks: Semaphore::new(LOOKS),
            stop,
        })
    }
}
