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

use futures::StreamExt;
use kube::runtime::controller::{self, Config};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
pub(crate) use metrics::SwapMetrics;
use watched::Watched;

/// Sidecars at a time, so that a start with many of them leaves the API server to others too.
const CONCURRENCY: u16 = 8;

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
    let requests = triggers::requests(&watched).take_until(stop.clone().cancelled_owned());
    let sidecars = context.lookup.sidecars().store().clone();
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciliations = controller::applier(
        |sidecar, watched| Box::pin(reconcile::reconcile(sidecar, watched)),
        reconcile::after_failure,
        watched,
        sidecars,
        requests,
        config,
    );
    // Each reconciliation has told its failure; one of an object that is gone is none.
    reconciliations.for_each(|_| std::future::ready(())).await;
}
