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

use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::drive::Drive;
use crate::metrics::Controller;
pub(crate) use repair::Repairs;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    // Half of the pods are not a reason to call the other half missing.
    if stop.run_until_cancelled(context.synced()).await != Some(true) {
        return;
    }
    let applications = context.lookup.applications().store();
    let drive = Drive::new(&context, Controller::Application, applications);
    let requests = triggers::requests(&context);
    drive
        .run(requests, context, reconcile::reconcile, stop)
        .await;
}

#[cfg(test)]
mod tests;
