//! The controller of what shared sidecars need: function pods, their Service, and their documents.
//!
//! It writes no status: [`Sharings`] tells the IntegrationSidecar's own controller what to say.

mod apply;
mod consumers;
mod decide;
mod documents;
mod memory;
mod pods;
mod read;
mod reconcile;
mod report;
mod service;
mod standing;
mod tenants;
mod triggers;
mod watched;

use std::sync::Arc;

use futures::StreamExt;
use kube::runtime::controller::{self, Config};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
pub(crate) use standing::{Sharing, Sharings};
use watched::Watched;

/// Sidecars at a time, so that a start with many of them leaves the API server to others too.
const CONCURRENCY: u16 = 8;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    let (watched, feed) = Watched::new(Arc::clone(&context));
    let feed = watched::follow(feed, context.client.clone(), stop.clone());
    tokio::join!(feed, control(context, watched, stop.clone()));
}

async fn control(context: Arc<Context>, watched: Arc<Watched>, stop: CancellationToken) {
    // Pods that are not known yet would be created once more, or forgotten as tenants.
    if stop.run_until_cancelled(watched.synced()).await != Some(true) {
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

#[cfg(test)]
mod tests;
