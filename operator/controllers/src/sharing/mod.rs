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

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::drive::Drive;
use crate::metrics::Controller;
pub(crate) use standing::{Sharing, Sharings};
use watched::Watched;

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
    let sidecars = context.lookup.sidecars().store();
    let drive = Drive::new(&context, Controller::Sharing, sidecars);
    let requests = triggers::requests(&watched);
    drive
        .run(requests, watched, reconcile::reconcile, stop)
        .await;
}

#[cfg(test)]
mod tests;
