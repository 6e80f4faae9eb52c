//! Where an application's pods are, seen from their data.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use outrigger_api::conditions::reason;
use outrigger_api::{AvoidedNode, IntegratedApp, Locality, PlacedPod, PlacementStatus, WaitingPod};
use outrigger_placement::{
    Achieved, Data, DataState, Explanation, InvalidExplanation, Locals, Share, Size, is_gated,
};

use super::read::{Found, FoundPod};
use crate::placement::{Standing, node_of};
use crate::status::{Progress, Summary, listed};

/// Most pods in each list of the status.
const MOST_PODS: usize = 64;
/// Most names in a message.
const NAMES: usize = 5;

/// What a decision about placement rests on; only of an application with data.
#[derive(Clone, Debug, Default)]
pub(super) struct FoundPlacement {
    pub(super) data: Vec<Data>,
    /// Names of Datasets that do not exist.
    pub(super) missing: Vec<String>,
    /// Of the first pods that were not placed, the claim that leaves the pod its node alone, by the
    /// name of the pod.
    pub(super) tied: BTreeMap<String, String>,
    /// `None` if the placement controller has not looked at the application yet.
    pub(super) standing: Option<Standing>,
}

/// The status of an application with data. What is not known yet, because the operator was just
/// started, stays as it was said before.
pub(super) fn status(found: &Found) -> Option<PlacementStatus> {
    let placement = found.placement.as_ref()?;
    let former = found.application.status.as_ref();
    let former = former.and_then(|status| status.placement.clone());
    let former = former.unwrap_or_default();
    let locals = Locals::new(&placement.data);
    let mut pods: Vec<_> = own(found)
        .filter_map(|pod| placed(pod, placement, &locals, &former))
        .collect();
    pods.sort_by(|one, other| one.pod.cmp(&other.pod));
    let sum = |of: fn(&PlacedPod) -> i64| {
        let bytes = pods.iter().map(of);
        bytes.fold(0, i64::saturating_add)
    };
    let (local_bytes, total_bytes) = (sum(|pod| pod.local_bytes), sum(|pod| pod.total_bytes));
    let share = Share {
        bytes: unsigned(local_bytes),
        of: unsigned(total_bytes),
    };
    let (mut waiting, avoided) = match &placement.standing {
        Some(standing) => told(standing),
        None => (still_waiting(found, former.waiting), former.avoided),
    };
    waiting.sort_by(|one, other| one.pod.cmp(&other.pod));
    waiting.truncate(MOST_PODS);
    pods.truncate(MOST_PODS);
    Some(PlacementStatus {
        effective: Locality::effective(found.application.spec.locality.as_ref()),
        local: (total_bytes > 0).then(|| share.to_string()),
        local_bytes,
        total_bytes,
        pods,
        waiting,
        avoided,
    })
}

/// What stands in the way of the application's pods, as far as their place goes.
pub(super) fn summary(found: &Found, status: Option<&PlacementStatus>) -> Option<Summary> {
    let placement = found.placement.as_ref()?;
    missing(found, placement)
        .or_else(|| conflict(placement))
        .or_else(|| pending(found, status?))
}

/// How much of their data the pods have on their nodes, to end a sentence about them with.
pub(super) fn locality(status: &PlacementStatus) -> Option<String> {
    let local = status.local.as_ref()?;
    Some(format!("{local} of the pods' data is on their own nodes"))
}

/// The pods on nodes that nobody placed, as many as a status may list.
pub(super) fn unexplained<'a>(
    application: &IntegratedApp,
    pods: &'a [FoundPod],
) -> impl Iterator<Item = &'a Pod> {
    let on_nodes = of(application, pods).filter(|pod| node_of(pod).is_some());
    let unexplained = on_nodes.filter(|pod| Explanation::of(pod).is_none());
    unexplained.take(MOST_PODS)
}

fn own(found: &Found) -> impl Iterator<Item = &Pod> {
    of(&found.application, &found.pods)
}

fn of<'a>(application: &IntegratedApp, pods: &'a [FoundPod]) -> impl Iterator<Item = &'a Pod> {
    let name = application.name_any();
    let pods = pods.iter().map(|found| found.pod.as_ref());
    pods.filter(move |pod| {
        outrigger_injection::application(pod) == Some(name.as_str())
            && pod.metadata.deletion_timestamp.is_none()
    })
}

/// What is said of a pod that is on a node.
fn placed(
    pod: &Pod,
    found: &FoundPlacement,
    locals: &Locals<'_>,
    former: &PlacementStatus,
) -> Option<PlacedPod> {
    let FoundPlacement { data, tied, .. } = found;
    let name = pod.name_any();
    let node = node_of(pod)?.to_owned();
    let unknown = |data: &Data| matches!(data.state, DataState::NotScannedYet { .. });
    let mut said = former.pods.iter();
    if data.iter().any(unknown)
        && let Some(said) = said.find(|said| said.pod == name && said.node == node)
    {
        return Some(said.clone());
    }
    let found = locals.of(pod);
    let Achieved {
        local_bytes,
        total_bytes,
    } = found.unwrap_or(Achieved {
        local_bytes: 0,
        total_bytes: 0,
    });
    let explanation = Explanation::of(pod);
    let valid = explanation.as_ref().and_then(|found| found.as_ref().ok());
    let next = valid.and_then(|explanation| next_choice(explanation, &node));
    Some(PlacedPod {
        reason: match (&explanation, tied.get(&name)) {
            (None, Some(claim)) => format!(
                "its claim {claim} is on {node}, so it can run there only: {}",
                holds(&node, found)
            ),
            (explanation, _) => why(explanation.as_ref(), &node, found),
        },
        pod: name,
        node,
        local_bytes: signed(local_bytes),
        total_bytes: signed(total_bytes),
        runner_up: next.map(|(node, _)| node.to_owned()),
        runner_up_bytes: next.map(|(_, bytes)| signed(bytes)),
    })
}

/// The node that was to be the next choice, or the first one where the scheduler chose another.
fn next_choice<'a>(explanation: &'a Explanation, node: &str) -> Option<(&'a str, u64)> {
    match explanation.node.as_deref() {
        Some(asked) if asked != node => Some((asked, explanation.local_bytes)),
        _ => {
            let next = explanation.runner_up.as_ref()?;
            (next.node != node).then_some((next.node.as_str(), next.local_bytes))
        }
    }
}

/// How much of a pod's data its node holds.
fn holds(node: &str, achieved: Option<Achieved>) -> String {
    let Some(Achieved {
        local_bytes,
        total_bytes,
    }) = achieved
    else {
        return format!("what {node} holds of its data is not known");
    };
    let share = Share {
        bytes: local_bytes,
        of: total_bytes,
    };
    let (local, total) = (Size(local_bytes), Size(total_bytes));
    format!("{node} holds {local} of its {total} ({share})")
}

/// Why a pod is on its node, in a sentence.
fn why(
    explanation: Option<&Result<Explanation, InvalidExplanation>>,
    node: &str,
    achieved: Option<Achieved>,
) -> String {
    let holds = holds(node, achieved);
    match explanation {
        None => format!(
            "{holds}; the scheduler chose it alone: the pod did not wait for a node near its data when it was created"
        ),
        Some(Err(error)) => format!("{holds}; {error}"),
        Some(Ok(Explanation {
            node: None, reason, ..
        })) => {
            format!("{reason}; the scheduler chose {node}: {holds}")
        }
        Some(Ok(explanation)) if explanation.node.as_deref() != Some(node) => {
            let asked = explanation.node.as_deref().unwrap_or_default();
            format!(
                "{holds}; the scheduler chose it, though {asked} was asked for: {}",
                explanation.reason
            )
        }
        Some(Ok(explanation)) => {
            let moved = achieved.is_some_and(|found| {
                (found.local_bytes, found.total_bytes)
                    != (explanation.local_bytes, explanation.total_bytes)
            });
            match moved {
                true => format!("now {holds}; when it was placed: {}", explanation.reason),
                false => explanation.reason.clone(),
            }
        }
    }
}

fn told(standing: &Standing) -> (Vec<WaitingPod>, Vec<AvoidedNode>) {
    let waiting = standing.waiting.iter().map(|waiting| WaitingPod {
        pod: waiting.pod.clone(),
        reason: waiting.reason.clone(),
    });
    let mut avoided: Vec<_> = standing
        .avoided
        .iter()
        .map(|avoided| AvoidedNode {
            node: avoided.node.clone(),
            reason: avoided.reason.clone(),
            // The API server keeps whole seconds.
            since: jiff::Timestamp::from_second(avoided.since.as_second())
                .ok()
                .map(Time),
        })
        .collect();
    avoided.sort_by(|one, other| one.node.cmp(&other.node));
    (waiting.collect(), avoided)
}

/// Those that were said to wait and are on no node yet.
fn still_waiting(found: &Found, mut waiting: Vec<WaitingPod>) -> Vec<WaitingPod> {
    waiting.retain(|waiting| {
        own(found).any(|pod| pod.name_any() == waiting.pod && node_of(pod).is_none())
    });
    waiting
}

fn missing(found: &Found, placement: &FoundPlacement) -> Option<Summary> {
    let first = placement.missing.first()?;
    let mut hints = found.application.spec.data.iter().flatten();
    let index = hints
        .position(|hint| hint.dataset == *first)
        .unwrap_or_default();
    let rest = match placement.missing.len() {
        1 => String::new(),
        _ => format!(" (nor {})", listed(&placement.missing[1..], NAMES)),
    };
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::DATASET_NOT_FOUND,
        message: format!(
            "IntegratedApp {} data[{index}].dataset is {first:?}; no Dataset of that name exists in namespace {}{rest}; pods run all the same, without regard to it",
            found.application.name_any(),
            found.application.namespace().unwrap_or_default()
        ),
    })
}

fn conflict(placement: &FoundPlacement) -> Option<Summary> {
    let conflicts = &placement.standing.as_ref()?.conflicts;
    let (pod, why) = conflicts.first()?;
    let more = match conflicts.len() {
        1 => String::new(),
        many => format!(" (and {} more)", many - 1),
    };
    Some(Summary {
        progress: Progress::Stalled,
        reason: reason::PLACEMENT_CONFLICT,
        message: format!("no node can run pod {pod}{more}: {why}"),
    })
}

fn pending(found: &Found, status: &PlacementStatus) -> Option<Summary> {
    let first = status.waiting.first()?;
    let gated = own(found).any(|pod| is_gated(pod) && pod.name_any() == first.pod);
    let what = match (status.waiting.len(), gated) {
        (1, true) => format!("pod {} waits for a node near its data", first.pod),
        (1, false) => format!("pod {} waits for the scheduler", first.pod),
        (count, _) => {
            let names: Vec<_> = status.waiting.iter().map(|waiting| &waiting.pod).collect();
            format!(
                "{count} pods wait ({}), the first of them",
                listed(&names, NAMES)
            )
        }
    };
    Some(Summary {
        progress: Progress::Reconciling,
        reason: reason::PLACEMENT_PENDING,
        message: format!("{what}: {}", first.reason),
    })
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn unsigned(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or_default()
}
