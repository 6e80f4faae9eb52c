//! What is told of each action, as events.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::EventType;
use outrigger_control::{Phase, Slot};
use outrigger_rollout::{Action, PodChange};

use super::metrics::{Ended, spent};
use crate::events::Story;

/// What is told of an action, if it is worth an event.
pub(super) fn story(action: &Action, sidecar: &str, pod: Option<ObjectReference>) -> Option<Story> {
    let (type_, reason, note) = match action {
        Action::RecordDigest { revision, digest } => (
            EventType::Normal,
            "PreflightSucceeded",
            format!("Revision {revision} can be used; its digest is {digest}"),
        ),
        Action::FailRevision { failure, .. } => {
            (EventType::Warning, failure.reason, failure.message.clone())
        }
        Action::Patch(change) => written(change, sidecar)?,
        Action::Evict { pod, revision, .. } => (
            EventType::Normal,
            "Recreating",
            format!("Pod {pod} is evicted, and its successor gets revision {revision}"),
        ),
        Action::KeepRevision(_)
        | Action::Renumber { .. }
        | Action::RemoveRevision(_)
        | Action::Try { .. }
        | Action::EndTrial(_) => return None,
    };
    Some(Story {
        type_,
        reason,
        action: "Rollout",
        note,
        related: pod,
    })
}

fn written(change: &PodChange, sidecar: &str) -> Option<(EventType, &'static str, String)> {
    let (before, after) = (&change.before, &change.after);
    let pod = &change.pod;
    let lasted = spent(change).map_or(String::new(), |spent| {
        format!(" after {:.1} s", spent.as_secs_f64())
    });
    let container = |slot: Slot| slot.container(sidecar);
    let (active, standby) = (after.active, after.active.peer());
    let image = change
        .image
        .as_ref()
        .map_or("", |(_, image)| image.as_str());
    let normal = |reason, note| Some((EventType::Normal, reason, note));
    if after.single {
        return Some((
            EventType::Normal,
            single(change),
            of_single(change, sidecar),
        ));
    }
    match (before.phase, after.phase) {
        (Phase::Rest, Phase::PatchStandby) => normal(
            "SwapStarted",
            format!("Pod {pod}: container {} gets {image}", container(standby)),
        ),
        (_, Phase::PatchStandby) => normal(
            "StandbyReplaced",
            format!(
                "Pod {pod}: container {} gets {image}{lasted} in {}",
                container(standby),
                before.phase
            ),
        ),
        (Phase::Handover, Phase::Warm) => Some((
            EventType::Warning,
            "HandoverAborted",
            format!("Pod {pod}: slot {standby} did not take over; slot {active} goes on{lasted}"),
        )),
        // The time of its limit begins anew.
        (Phase::Warm, Phase::Warm) => None,
        (_, Phase::Warm) => normal(
            "StandbyStarted",
            format!(
                "Pod {pod}: container {} runs the new image{lasted}",
                container(standby)
            ),
        ),
        (Phase::Warm, Phase::Handover) => normal(
            "HandoverStarted",
            format!(
                "Pod {pod}: slot {active} is warm{lasted}, and is to be active by term {}",
                after.term
            ),
        ),
        (_, Phase::Handover) => Some((
            EventType::Warning,
            "HandedBack",
            format!(
                "Pod {pod}: slot {active} is to be active again by term {}",
                after.term
            ),
        )),
        (_, Phase::Soak) => normal(
            "HandoverSucceeded",
            format!("Pod {pod}: slot {active} serves{lasted}"),
        ),
        (Phase::Soak, Phase::PatchOld) => normal(
            "SoakSucceeded",
            format!(
                "Pod {pod}: slot {active} served{lasted}; container {} gets {image}",
                container(standby)
            ),
        ),
        (_, Phase::PatchOld) => normal(
            "StandbyReplaced",
            format!("Pod {pod}: container {} gets {image}", container(standby)),
        ),
        (Phase::PatchOld, Phase::Rest) => normal(
            "SwapSucceeded",
            format!(
                "Pod {pod}: both slots have revision {}{lasted}",
                after.revision.a
            ),
        ),
        (Phase::Rest, Phase::Rest) if before.config != after.config => normal(
            "ConfigurationGiven",
            format!("Pod {pod}: slots are to use document {}", after.config.a),
        ),
        (_, Phase::Rest) => normal(
            "SlotReplaced",
            format!(
                "Pod {pod}: revisions are {} and {}",
                after.revision.a, after.revision.b
            ),
        ),
    }
}

/// The reason of an event about a sidecar with one container.
fn single(change: &PodChange) -> &'static str {
    match (change.before.phase, change.after.phase) {
        (_, Phase::PatchOld) => "ContainerReplaced",
        (Phase::PatchOld, Phase::Soak) => "ContainerStarted",
        _ => "SwapSucceeded",
    }
}

fn of_single(change: &PodChange, sidecar: &str) -> String {
    let pod = &change.pod;
    if let Some((_, image)) = &change.image {
        return format!("Pod {pod}: container {sidecar} gets {image}");
    }
    let gap = change.gap.map_or(String::new(), |gap| {
        format!("; the sidecar was away for {} s", gap.as_secs())
    });
    let revision = &change.after.revision.a;
    format!("Pod {pod}: container {sidecar} runs revision {revision}{gap}")
}

/// How a swap ended, if the write ends one. `current` is the revision that pods had before.
pub(super) fn ending(change: &PodChange, current: Option<&str>) -> Option<Ended> {
    if change.before.phase == Phase::Rest || change.after.phase != Phase::Rest {
        return None;
    }
    // A slot got its own image again after somebody else had changed it: that is no swap, whose
    // first write forgets such corrections.
    if !change.before.notes.corrected.is_empty() {
        return None;
    }
    match Some(change.after.revision.a.as_str()) == current {
        true => Some(Ended::TakenBack),
        false => Some(Ended::Succeeded),
    }
}

#[cfg(test)]
mod tests {
    use outrigger_control::{Order, PerSlot};

    use super::*;

    fn end(revision: &str, corrected: Vec<Slot>) -> PodChange {
        let mut before = Order {
            v: Order::VERSION,
            term: 2,
            active: Slot::A,
            config: PerSlot::both("0".into()),
            revision: PerSlot::both(revision.into()),
            admin: PerSlot { a: 15020, b: 15021 },
            phase: Phase::PatchStandby,
            since: "2026-01-01T00:00:00Z".into(),
            single: false,
            replaced: None,
            notes: Default::default(),
        };
        before.notes.corrected = corrected;
        PodChange {
            pod: "web-0".into(),
            uid: "1".into(),
            after: Order {
                phase: Phase::Rest,
                ..before.clone()
            },
            before,
            image: None,
            gap: None,
            patch: json_patch::Patch::default(),
        }
    }

    #[test]
    fn a_slot_that_got_its_own_image_again_ended_no_swap() {
        assert_eq!(
            ending(&end("new", vec![]), Some("old")),
            Some(Ended::Succeeded)
        );
        assert_eq!(
            ending(&end("old", vec![]), Some("old")),
            Some(Ended::TakenBack)
        );
        assert_eq!(ending(&end("old", vec![Slot::B]), Some("old")), None);
    }
}
