//! What is told of each action, as events.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::Resource;
use kube::runtime::events::EventType;
use outrigger_placement::{AskedFor, Explanation, Mode, Replacement};

use crate::events::Story;

/// A pod was let go.
pub(super) fn released(pod: &Pod, mode: Mode, explanation: &Explanation) -> Story {
    let relaxed = mode == Mode::Required && explanation.mode != AskedFor::Required;
    let (type_, reason) = match relaxed {
        true => (EventType::Warning, "PodRelaxed"),
        false => (EventType::Normal, "PodPlaced"),
    };
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Story {
        type_,
        reason,
        action: "Placement",
        note: format!("Pod {name}: {}", explanation.reason),
        related: Some(reference(pod)),
    }
}

/// A pod was deleted, to be created anew.
pub(super) fn replaced(pod: &Pod, replacement: &Replacement) -> Story {
    Story {
        type_: EventType::Warning,
        reason: "PodReplaced",
        action: "Placement",
        note: format!("Pod {}: {}", replacement.pod, replacement.reason),
        related: Some(reference(pod)),
    }
}

/// A pod was let go without a node, because no decision about it could be made or written.
pub(super) fn let_go(pod: &Pod, why: &str) -> Story {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    Story {
        type_: EventType::Warning,
        reason: "PodRelaxed",
        action: "Placement",
        note: format!("Pod {name} goes wherever the scheduler likes: {why}"),
        related: Some(reference(pod)),
    }
}

fn reference(pod: &Pod) -> ObjectReference {
    pod.object_ref(&())
}
