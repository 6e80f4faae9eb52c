//! How many pods may be disturbed at once.

use std::collections::BTreeMap;

use outrigger_api::Share;

use crate::{Consumer, SwapPod};

/// The room that `update.maxUnavailable` leaves, over all pods of the sidecar and over those of each
/// consumer.
#[derive(Debug)]
pub(crate) struct Limits {
    all: Room,
    consumers: BTreeMap<Consumer, Room>,
}

#[derive(Debug, Default)]
struct Room {
    pods: usize,
    disturbed: usize,
    allowed: usize,
}

impl Room {
    fn admits(&self) -> bool {
        self.disturbed < self.allowed
    }
}

impl Limits {
    /// Counts pods. Those that are being deleted leave anyway.
    pub(crate) fn new(
        pods: &[SwapPod],
        share: Share,
        is_disturbed: impl Fn(&SwapPod) -> bool,
    ) -> Limits {
        let mut limits = Limits {
            all: Room::default(),
            consumers: BTreeMap::new(),
        };
        for pod in pods {
            let room = limits.consumers.entry(pod.consumer.clone()).or_default();
            let disturbed = usize::from(is_disturbed(pod));
            for room in [room, &mut limits.all] {
                room.pods += usize::from(!pod.deleting);
                room.disturbed += disturbed;
            }
        }
        for room in limits.consumers.values_mut().chain([&mut limits.all]) {
            room.allowed = share.rounded_down(room.pods).max(1);
        }
        limits
    }

    /// Whether one more pod may be disturbed.
    pub(crate) fn admits(&self, pod: &SwapPod) -> bool {
        let own = self.consumers.get(&pod.consumer);
        self.all.admits() && own.is_some_and(Room::admits)
    }

    /// One more pod is disturbed.
    pub(crate) fn take(&mut self, pod: &SwapPod) {
        self.all.disturbed += 1;
        if let Some(room) = self.consumers.get_mut(&pod.consumer) {
            room.disturbed += 1;
        }
    }

    /// Pods of a consumer that are still to be created.
    pub(crate) fn take_missing(&mut self, consumer: &Consumer, count: usize) {
        self.all.disturbed += count;
        if let Some(room) = self.consumers.get_mut(consumer) {
            room.disturbed += count;
        }
    }
}
