//! The IntegratedApp controller: it hands the functions' configuration to the slots, and reports
//! which pods have their sidecars.

mod apply;
mod census;
mod decide;
mod documents;
mod placement;
mod read;
mod reconcile;
mod repair;
mod report;
mod triggers;

use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use kube::runtime::controller::{self, Config};
use tokio_util::sync::CancellationToken;

use crate::context::Context;
pub(crate) use repair::Repairs;

/// Applications at a time, so that a start with many of them leaves the API server to others too.
const CONCURRENCY: u16 = 8;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    // Half of the pods are not a reason to call the other half missing.
    if stop.run_until_cancelled(context.synced()).await != Some(true) {
        return;
    }
    let requests = triggers::requests(&context).take_until(stop.clone().cancelled_owned());
    let applications = context.lookup.applications().store().clone();
    let config = Config::default().concurrency(CONCURRENCY);
    let reconciliations = controller::applier(
        |application, context| reconcile::reconcile(application, context).boxed(),
        reconcile::after_failure,
        context,
        applications,
        requests,
        config,
    );
    // Each reconciliation has told its failure; one of an object that is gone is none.
    reconciliations.for_each(|_| std::future::ready(())).await;
}

#[cfg(test)]
mod tests;
