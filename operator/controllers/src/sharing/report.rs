use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_api::FunctionPods;
use outrigger_api::conditions::reason;
use outrigger_plan::{MOST_DOCUMENT_BYTES, SharedPlan};
use outrigger_rollout::Container;

use super::decide::Decision;
use super::pods::{Spot, is_ready};
use super::read::Found;
use super::standing::{Planned, Sharing};
use super::tenants::MOST_BYTES;
use crate::status::{Progress, Summary};

/// What is to be said of the function pods.
pub(super) fn sharing(found: &Found, decision: &Decision) -> Sharing {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    Sharing {
        pods: FunctionPods {
            desired: number(decision.pods.desired),
            ready: number(decision.pods.ready),
        },
        obstacle: too_large(&decision.plan)
            .or_else(|| too_many(decision))
            .or_else(|| pending(found, decision)),
        planned: Some(Planned(Arc::new(decision.plan.clone()))),
    }
}

pub(super) fn too_large(plan: &SharedPlan) -> Option<Summary> {
    let kib = |bytes: usize| bytes.div_ceil(1024);
    let first = plan.left_out.first()?;
    let others = match plan.left_out.len() {
        1 => String::new(),
        several => format!(", and those of {} other applications,", several - 1),
    };
    let instead = match first.goes_on {
        true => "its former one goes on",
        false => "its requests are answered 503",
    };
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::CONFIGURATION_TOO_LARGE,
        message: format!(
            "the configuration of application {}{others} has no room: it has {} KiB, and {} KiB are allowed for all applications together; {instead}; make it smaller, or use another IntegrationSidecar for some of the applications",
            first.application,
            kib(first.bytes),
            kib(MOST_DOCUMENT_BYTES),
        ),
    })
}

fn too_many(decision: &Decision) -> Option<Summary> {
    (decision.left_out > 0).then(|| Summary {
        progress: Progress::Stalled,
        reason: reason::TOO_MANY_CONSUMERS,
        message: format!(
            "a function pod cannot be told of {} of its consumers, the youngest, whose requests it refuses with 403: their addresses and those of the others take more than {} KiB; use sharing Node, or another IntegrationSidecar for some of the applications",
            decision.left_out,
            MOST_BYTES / 1024
        ),
    })
}

fn pending(found: &Found, decision: &Decision) -> Option<Summary> {
    let (desired, ready) = (decision.pods.desired, decision.pods.ready);
    if ready >= desired {
        return None;
    }
    let created = decision.pods.create.first().map(|(name, spot)| {
        let place = match spot {
            Spot::Node(node) => format!(" on node {node}"),
            Spot::Anywhere => String::new(),
        };
        format!("pod {name}{place} is being created")
    });
    let mut waiting = found
        .pods
        .iter()
        .filter(|pod| !is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    let waiting = || {
        let pod = waiting.next()?;
        Some(format!("pod {} {}", pod.name_any(), waits_for(pod)))
    };
    let first = created.or_else(waiting);
    let first = first.unwrap_or_else(|| "their successors are still to come".to_owned());
    Some(Summary {
        progress: Progress::Reconciling,
        reason: reason::FUNCTION_PODS_PENDING,
        message: format!("{ready} of {desired} function pods serve: {first}"),
    })
}

/// What a function pod that does not serve waits for.
fn waits_for(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "is not scheduled yet".into();
    };
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let mut troubles = containers.filter_map(|container| {
        let trouble = Container::read(Some(container)).trouble?;
        Some(format!("has container {}: {trouble}", container.name))
    });
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    troubles
        .next()
        .or_else(|| {
            let message = unscheduled?.message.as_ref()?;
            Some(format!("is not scheduled: {message}"))
        })
        .or_else(|| Some(format!("has ended: {}", status.reason.as_ref()?)))
        .unwrap_or_else(|| "is not ready yet".into())
}
