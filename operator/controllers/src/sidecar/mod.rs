//! The IntegrationSidecar controller: it brings new images into running pods, and gives their slots
//! their orders.

mod apply;
mod configuration;
mod decide;
mod documents;
mod memory;
mod metrics;
mod read;
mod reconcile;
mod refusals;
mod report;
mod slots;
mod story;
mod successors;
mod triggers;
mod validate;
mod watched;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::drive::Drive;
use crate::metrics::Controller;
pub(crate) use metrics::SwapMetrics;
use watched::Watched;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (watched, feeds) = Watched::new(Arc::clone(&context));
    let feeds = feeds.run(context.client.clone(), stop.clone());
    tokio::join!(feeds, control(context, watched, stop.clone()));
}

async fn control(context: Arc<Context>, watched: Arc<Watched>, stop: CancellationToken) {
    // What is not known yet would be created or begun once more.
    let synced = async { context.synced().await && watched.synced().await };
    if stop.run_until_cancelled(synced).await != Some(true) {
        return;
    }
    let sidecars = context.lookup.sidecars().store();
    let mut drive = Drive::new(&context, Controller::Sidecar, sidecars);
    drive.longest_pause = reconcile::longest_pause;
    let requests = triggers::requests(&watched);
    drive
        .run(requests, watched, reconcile::reconcile, stop)
        .await;
}
