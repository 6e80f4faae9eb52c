//! Pods that cannot follow the spec in place are evicted, so that their controller creates them anew.

mod decide;
mod memory;
mod observe;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::runtime::events::EventType;
use kube::{Resource, ResourceExt};
use outrigger_api::conditions::reason;
use outrigger_injection::requires_recreate;
use outrigger_lookup::LookupError;
use outrigger_plan::{ApplicationPlan, Owners};

use self::decide::{Verdict, decide};
pub(crate) use self::memory::Repairs;
use super::read::Found;
use crate::call::CallError;
use crate::context::Context;
use crate::events::Story;
use crate::eviction::{Outcome, Why, evict};
use crate::status::{Progress, Summary, listed};
use crate::succession::{self, Controller, Tried, controller_uid, try_successor};

/// Most names of fields in a message.
const NAMES: usize = 5;

/// A repair could not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairError {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error(transparent)]
    Call(#[from] CallError),
}

impl RepairError {
    pub(super) fn cause(&self) -> &kube::Error {
        match self {
            RepairError::Read(failure) => &failure.error,
            RepairError::Call(failure) => &failure.error,
        }
    }
}

/// Why pods are to be evicted, by their names.
pub(super) type Unfit = BTreeMap<String, Why>;

/// Evicts as many of the unfit pods as may go now, and says what the others wait for. `told` is what
/// is to be said of pods that stay as they are.
pub(super) async fn repair(
    context: &Context,
    found: &Found,
    plan: &ApplicationPlan,
    unfit: &Unfit,
    told: Summary,
) -> Result<Summary, RepairError> {
    let repair = Repair {
        context,
        found,
        plan,
        unfit,
        application: found.application.uid().unwrap_or_default(),
    };
    if unfit.is_empty() {
        if told.progress == Progress::Ready {
            context.repairs.forget(&repair.application);
        }
        return Ok(told);
    }
    let pods = observe::served(found);
    let namespace = found.application.namespace().unwrap_or_default();
    let owners = pods.iter();
    let owners = owners.filter_map(|pod| Owners::controller(pod.owner_references()).cloned());
    let owners: Vec<_> = owners.collect();
    let controllers = succession::read(&context.client, &namespace, &owners).await?;
    let memory = context
        .repairs
        .recall(&repair.application, &memory::wanted(found));
    let situation = observe::situation(found, &pods, &controllers, unfit, &memory);
    let told = match decide(&situation) {
        Verdict::Rest => stays(told, &situation.kept()),
        Verdict::Stop { pod } => Summary {
            message: format!(
                "pod {pod} came after an eviction and is no better, so no other pod is evicted until the spec changes: {}",
                told.message
            ),
            ..told
        },
        Verdict::Wait { why } => repair.recreating(&why),
        Verdict::Evict(uids) => {
            let mut pods = pods;
            pods.retain(|pod| uids.contains(&pod.uid().unwrap_or_default()));
            let present = situation.pods.iter().map(|pod| pod.uid.clone()).collect();
            let why = repair.evict(&pods, &controllers, present).await?;
            repair.recreating(&why)
        }
    };
    Ok(told)
}

/// What is said of pods that nobody may evict.
fn stays(told: Summary, kept: &[(&str, &str)]) -> Summary {
    let Some((pod, why)) = kept.first() else {
        return told;
    };
    let others = match kept.len() - 1 {
        0 => String::new(),
        others => format!(", and {others} more"),
    };
    Summary {
        message: format!(
            "{}; not evicted: pod {pod}, since {why}{others}",
            told.message
        ),
        ..told
    }
}

struct Repair<'a> {
    context: &'a Context,
    found: &'a Found,
    plan: &'a ApplicationPlan,
    unfit: &'a Unfit,
    application: String,
}

impl Repair<'_> {
    fn recreating(&self, why: &str) -> Summary {
        let count = self.unfit.len();
        let pods = match count {
            1 => "1 pod is".to_owned(),
            _ => format!("{count} pods are"),
        };
        Summary {
            progress: Progress::Reconciling,
            reason: reason::RECREATING,
            message: format!("{pods} to be created anew: {why}"),
        }
    }

    /// Evicts pods whose successors would be right; what came of it, in one line.
    async fn evict(
        &self,
        pods: &[Arc<Pod>],
        controllers: &BTreeMap<String, Controller>,
        present: BTreeSet<String>,
    ) -> Result<String, RepairError> {
        let mut tried = BTreeSet::new();
        for pod in pods {
            let uid = controller_uid(pod).unwrap_or_default();
            let Some(controller) = controllers.get(&uid).filter(|_| tried.insert(uid.clone()))
            else {
                continue;
            };
            if let Some(wrong) = self.objection(pod, controller).await? {
                return Ok(format!(
                    "a pod like the successor of {}, which was only tried, {wrong}",
                    pod.name_any()
                ));
            }
        }
        let repairs = &self.context.repairs;
        let mut evicted = Vec::new();
        let mut refused = None;
        for pod in pods {
            let name = pod.name_any();
            let outcome = evict(&self.context.client, pod).await;
            if let Ok(Outcome::Refused { message }) = outcome {
                refused = refused.or(Some(format!("pod {name}: {message}")));
                continue;
            }
            // An eviction that was not answered may have been one.
            repairs.begin(&self.application, &present);
            if outcome? == Outcome::Evicted {
                self.told(pod).await;
                evicted.push(name);
            }
            repairs.evicted(&self.application, pod.uid().unwrap_or_default());
        }
        Ok(match (evicted.len(), refused) {
            (0, Some(refused)) => refused,
            (0, None) => "pods are ending".to_owned(),
            (1, _) => format!("pod {} was evicted", evicted[0]),
            (count, _) => format!("{count} pods were evicted"),
        })
    }

    /// What is wrong with the pod that a controller would create, if anything is.
    async fn objection(
        &self,
        pod: &Pod,
        controller: &Controller,
    ) -> Result<Option<String>, RepairError> {
        let (client, application) = (&self.context.client, &self.plan.application.name);
        let tried = match try_successor(client, application, pod, controller).await? {
            Tried::Admitted(tried) => tried,
            Tried::Wrong(what) => return Ok(Some(what)),
        };
        let fields = requires_recreate(&tried, self.plan, &self.context.settings);
        Ok((!fields.is_empty()).then(|| {
            format!(
                "came back with the same fault, in {}: another admission webhook or a policy changes it",
                listed(&fields, NAMES)
            )
        }))
    }

    async fn told(&self, pod: &Pod) {
        let (application, name) = (&*self.found.application, pod.name_any());
        let Some(wrong) = self.unfit.get(&name) else {
            return;
        };
        self.context.metrics.evictions.count(*wrong);
        let because = wrong.words();
        let note = format!("Pod {name} was evicted: {because}");
        tracing::info!(
            namespace = application.namespace(),
            name = application.name_any(),
            message = note,
            "IntegratedApp"
        );
        let (regarding, about) = (application.object_ref(&()), pod.object_ref(&()));
        let story = Story {
            type_: EventType::Normal,
            reason: reason::RECREATING,
            action: "Recreate",
            note,
            related: Some(about.clone()),
        };
        let of_the_pod = Story {
            related: Some(regarding.clone()),
            ..story.clone()
        };
        let events = &self.context.events;
        tokio::join!(
            events.publish(&regarding, &story),
            events.publish(&about, &of_the_pod)
        );
    }
}
