//! The swap of a sidecar with one container, of an image that is not built on the chassis: it is
//! replaced, and there is a gap.

use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Slot};

use super::{Change, LATER, Step, Swap};

/// What is said of the only container.
const ONLY: Slot = Slot::A;

impl Swap<'_> {
    pub(super) fn step_single(&self) -> Step {
        if !self.pod.is_observed() {
            return self.kubelet("kubelet has not seen its new image yet");
        }
        let replacing = self.order().phase == Phase::PatchOld;
        let container = &self.pod.slots.of(ONLY).container;
        let replaced = self.order().replaced.as_deref();
        let runs = container.replaces(replaced);
        let trouble = container.stuck(replaced).filter(|_| {
            let another = container.id.as_deref() != replaced;
            another || self.is_told_anew()
        });
        match (self.has(ONLY), replacing && !runs, trouble) {
            (false, true, None) | (true, true, None) => {
                let name = self.container(ONLY);
                self.kubelet(&format!("container {name} is being replaced"))
            }
            (false, _, _) => self.replace_single(),
            (true, true, Some(trouble)) => self.stuck_single(trouble),
            (true, false, _) => self.settle_single(),
        }
    }

    pub(super) fn replace_single(&self) -> Step {
        let mut change = self.image(ONLY);
        let order = &mut change.order;
        order.revision.b.clone_from(&order.revision.a);
        order.config.clone_from(&self.order().config);
        order.phase = Phase::PatchOld;
        order.since = self.now();
        order
            .replaced
            .clone_from(&self.pod.slots.of(ONLY).container.id);
        Step::Change(change)
    }

    fn stuck_single(&self, trouble: &str) -> Step {
        let name = self.container(ONLY);
        let what = format!("container {name} does not run: {trouble}");
        match self.judged(ONLY) {
            true => self.seen(&what),
            false => self.wait(reason::WAITING, &what, false, LATER),
        }
    }

    /// The container that was awaited runs: it has to prove itself.
    fn settle_single(&self) -> Step {
        let phase = self.order().phase;
        if phase == Phase::Rest {
            return Step::Rest;
        }
        if let Some(failed) = self.crash(ONLY) {
            return failed;
        }
        if phase == Phase::PatchOld && self.judged(ONLY) && self.goal.soak.is_positive() {
            return self.phase(Phase::Soak);
        }
        let left = self.goal.soak - self.elapsed();
        if phase == Phase::Soak && self.judged(ONLY) && left.is_positive() {
            let name = self.container(ONLY);
            let what = format!("container {name} soaks");
            return self.wait(reason::SWAPPING, &what, false, left.min(LATER));
        }
        let mut order = self.order().clone();
        order.phase = Phase::Rest;
        order.since = self.now();
        order.replaced = None;
        Step::Change(Change { order, image: None })
    }
}
