use jiff::Timestamp;
use outrigger_api::{IntegratedApp, IntegratedAppStatus};

use super::decide::Decision;
use crate::context::Context;
use crate::status::{self, Summary};

/// Writes what was decided into the status, if it says something new.
pub(super) async fn decision(
    context: &Context,
    application: &IntegratedApp,
    decision: Decision,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let Decision {
        config_maps: _,
        unfit: _,
        summary,
        pods,
        sidecars,
        placement,
    } = decision;
    let found = application.status.clone().unwrap_or_default();
    let wanted = IntegratedAppStatus {
        observed_generation: application.metadata.generation,
        conditions: summary.conditions(&found.conditions, application.metadata.generation, now),
        pods: Some(pods),
        sidecars,
        placement,
    };
    write(context, application, &wanted, &summary).await
}

/// Writes a summary alone; the rest of the status stands.
pub(super) async fn summary(
    context: &Context,
    application: &IntegratedApp,
    summary: &Summary,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let mut wanted = application.status.clone().unwrap_or_default();
    wanted.observed_generation = application.metadata.generation;
    wanted.conditions =
        summary.conditions(&wanted.conditions, application.metadata.generation, now);
    write(context, application, &wanted, summary).await
}

async fn write(
    context: &Context,
    application: &IntegratedApp,
    wanted: &IntegratedAppStatus,
    summary: &Summary,
) -> Result<(), kube::Error> {
    let found = application.status.as_ref();
    let written = status::report(&context.client, application, found, wanted).await?;
    let former = found.and_then(|found| status::reason(&found.conditions));
    if written && former != Some(summary.reason) {
        context.events.tell(application, summary).await;
    }
    Ok(())
}
