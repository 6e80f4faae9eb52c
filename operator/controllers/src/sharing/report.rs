use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use outrigger_api::FunctionPods;
use outrigger_api::conditions::reason;
use outrigger_plan::{MOST_DOCUMENT_BYTES, SharedPlan};
use outrigger_rollout::Container;

use super::decide::Decision;
use super::pods::{Change, Spot, is_ready, named, shape_of, spot};
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
            .or_else(|| pending(&found.pods, &decision.shape, &decision.pods)),
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

/// What function pods wait for: those that are to serve, and those that are to take over from pods of
/// another shape.
pub(super) fn pending(pods: &[Arc<Pod>], shape: &str, change: &Change) -> Option<Summary> {
    let told = [lacking(pods, shape, change), held_up(pods, shape, change)];
    let told: Vec<_> = told.into_iter().flatten().collect();
    (!told.is_empty()).then(|| Summary {
        progress: Progress::Reconciling,
        reason: reason::FUNCTION_PODS_PENDING,
        message: told.join("; "),
    })
}

/// The places that nobody serves, or too few do.
fn lacking(pods: &[Arc<Pod>], shape: &str, change: &Change) -> Option<String> {
    let (desired, ready) = (change.desired, change.ready);
    if ready >= desired {
        return None;
    }
    // Where former ones serve is told apart.
    let is_lacking =
        |place: &Spot| change.unserved.contains(place) && !change.holding.contains(place);
    let mut created = change.create.iter().filter(|(_, place)| is_lacking(place));
    let created = created
        .next()
        .map(|(name, place)| being_created(name, place));
    let waiting = || {
        let waiting = pods
            .iter()
            .filter(|pod| waits(pod) && is_lacking(&spot(pod)));
        let pod = waiting.min_by_key(|pod| shape_of(pod) != Some(shape))?;
        let pod_there = named(&pod.name_any(), &spot(pod));
        Some(format!("{pod_there} {}", waits_for(pod)))
    };
    let first = match created.or_else(waiting) {
        Some(first) => format!(": {first}"),
        None if change.holding.is_empty() => ": their successors are still to come".to_owned(),
        None => String::new(),
    };
    Some(format!("{ready} of {desired} function pods serve{first}"))
}

/// The places that former function pods serve, and whose new ones keep those of all other places
/// from taking over.
fn held_up(pods: &[Arc<Pod>], shape: &str, change: &Change) -> Option<String> {
    let told = |place: &Spot| {
        let mut created = change.create.iter().filter(|(_, at)| at == place);
        let created = created.next().map(|(name, at)| being_created(name, at));
        let waiting = || {
            let mut waiting = pods
                .iter()
                .filter(|pod| waits(pod) && spot(pod) == *place && shape_of(pod) == Some(shape));
            let pod = waiting.next()?;
            let since = pod.creation_timestamp();
            let since = since.map_or_else(String::new, |since| format!(", created {},", since.0));
            let pod_there = named(&pod.name_any(), place);
            Some(format!("{pod_there}{since} {}", waits_for(pod)))
        };
        created.or_else(waiting)
    };
    let mut places = change.holding.iter().filter_map(told);
    let first = places.next()?;
    let others = match places.count() {
        0 => String::new(),
        1 => "; 1 more place waits".to_owned(),
        others => format!("; {others} more places wait"),
    };
    Some(format!(
        "the former function pods serve until new ones do in every place: {first}{others}"
    ))
}

fn waits(pod: &Pod) -> bool {
    !is_ready(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn being_created(name: &str, spot: &Spot) -> String {
    format!("{} is being created", named(name, spot))
}

/// What a function pod that does not serve waits for, as far as that stands for a while: what passes
/// while it starts is not worth a write of the status each.
pub(super) fn waits_for(pod: &Pod) -> String {
    let Some(status) = &pod.status else {
        return "is not scheduled yet".into();
    };
    let containers = status.init_container_statuses.iter().flatten();
    let containers = containers.chain(status.container_statuses.iter().flatten());
    let mut unready = containers.filter(|container| !container.ready);
    let mut troubles = unready.clone().filter_map(|container| {
        let found = Container::read(Some(container));
        let trouble = found.lasting_trouble()?;
        Some(format!("has container {}: {trouble}", container.name))
    });
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let have_started = unready.clone().all(runs);
    let first_unready = || {
        let container = unready.next().filter(|_| have_started)?;
        Some(format!(
            "has container {}, which is not ready",
            container.name
        ))
    };
    troubles
        .next()
        .or_else(|| {
            let message = unscheduled?.message.as_ref()?;
            Some(format!("is not scheduled: {message}"))
        })
        .or_else(|| Some(format!("has ended: {}", status.reason.as_ref()?)))
        .or_else(first_unready)
        .unwrap_or_else(|| "is not ready yet".into())
}

fn runs(container: &ContainerStatus) -> bool {
    let state = container.state.as_ref();
    state.is_some_and(|state| state.running.is_some())
}
