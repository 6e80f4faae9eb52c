//! The Dataset controller: it finds out which nodes hold the bytes, and says so.
//!
//! It writes nothing but the status, and has no finalizers. What it found is kept in [`Locations`],
//! for whoever places pods by it.

mod access;
mod claims;
mod finding;
mod fingerprint;
mod hdfs;
mod locations;
mod metrics;
mod read;
mod reconcile;
mod report;
mod scans;
mod triggers;
mod turns;
mod validate;
mod watched;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use access::HdfsAccess;
pub(crate) use locations::{DatasetKey, Locations};
pub(crate) use metrics::ScanMetrics;
use watched::Watched;

use crate::context::Context;
use crate::drive::Drive;
use crate::metrics::Controller;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, access: HdfsAccess, stop: CancellationToken) {
    // Half of the nodes are not a reason to call the data of the other half lost.
    let synced = async { context.synced().await && context.cluster.synced().await };
    if stop.run_until_cancelled(synced).await != Some(true) {
        return;
    }
    let datasets = context.lookup.datasets().store();
    let mut drive = Drive::new(&context, Controller::Dataset, datasets);
    // Not limited here: Datasets that wait for their scan would keep the others waiting.
    drive.at_once = 0;
    let watched = Watched::new(context, access, stop.clone());
    let requests = triggers::requests(&watched);
    drive
        .run(requests, watched, reconcile::reconcile, stop)
        .await;
}
