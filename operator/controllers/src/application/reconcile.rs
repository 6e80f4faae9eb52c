use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use outrigger_api::IntegratedApp;
use outrigger_api::conditions::reason;
use outrigger_lookup::LookupError;
use outrigger_plan::ApplicationPlan;

use super::{apply, decide, read, repair, report};
use crate::call::CallError;
use crate::context::Context;
use crate::drive::LOOK_AGAIN;
use crate::status::{self, Summary};

/// Pods without sidecars are not watched. While there are some, they are looked for so often.
const LOOK_FOR_MISSING: Duration = Duration::from_secs(30);
/// Whether pods are Ready and budgets allow evictions is not watched either. While pods are created
/// anew, they are looked at so often.
const REPAIRING: Duration = Duration::from_secs(5);

/// An application could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error(transparent)]
    Apply(#[from] CallError),
    #[error(transparent)]
    Repair(#[from] repair::RepairError),
    #[error("status cannot be written: {0}")]
    Report(kube::Error),
}

impl Failure {
    /// What is to be said of a failure that does not pass by itself.
    fn summary(&self) -> Option<Summary> {
        let error = match self {
            Failure::Read(failure) => &failure.error,
            Failure::Apply(failure) => &failure.error,
            Failure::Repair(failure) => failure.cause(),
            Failure::Report(error) => error,
        };
        status::objection(self, error)
    }
}

/// Reads, validates, decides, applies and reports.
pub(super) async fn reconcile(
    application: Arc<IntegratedApp>,
    context: Arc<Context>,
) -> Result<Action, Failure> {
    let (application, context) = (&application, &*context);
    let decided = async {
        let found = read::read(application, context).await?;
        let plan = ApplicationPlan::new(application, &found.referenced);
        if let Ok(plan) = &plan {
            publish(context, plan);
        }
        let mut decision = decide::decide(&found, plan.as_ref(), &context.settings);
        apply::apply(&context.client, application, &decision.config_maps).await?;
        if let Ok(plan) = &plan {
            let (unfit, told) = (&decision.unfit, decision.summary);
            decision.summary = repair::repair(context, &found, plan, unfit, told).await?;
        }
        Ok::<_, Failure>(decision)
    };
    let decision = match decided.await {
        Ok(decision) => decision,
        Err(failure) => {
            if let Some(summary) = failure.summary() {
                report::summary(context, application, &summary, Timestamp::now())
                    .await
                    .map_err(Failure::Report)?;
            }
            return Err(failure);
        }
    };
    let again = match decision.summary.reason {
        reason::RECREATING => REPAIRING,
        _ if decision.pods.without_sidecars > 0 => LOOK_FOR_MISSING,
        // Pods that came to be without sidecars unseen are found so late.
        _ => LOOK_AGAIN,
    };
    report::decision(context, application, decision, Timestamp::now())
        .await
        .map_err(Failure::Report)?;
    Ok(Action::requeue(again))
}

/// Tells the controller of shared sidecars of the application's configuration.
fn publish(context: &Context, plan: &ApplicationPlan) {
    let key = (
        plan.application.namespace.clone(),
        plan.application.name.clone(),
    );
    let sidecars = plan.sidecars.iter();
    let configuration = sidecars
        .filter_map(|sidecar| {
            Some((
                sidecar.name().to_owned(),
                sidecar.document_hash()?.to_owned(),
            ))
        })
        .collect();
    context.configurations.change(&key, |_| Some(configuration));
}
