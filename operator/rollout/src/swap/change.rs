//! The writes of a swap.

use outrigger_control::{Phase, Slot};

use super::{Change, Step, Swap};
use crate::answer::soaked;

impl Swap<'_> {
    /// The same orders in another phase.
    pub(super) fn phase(&self, phase: Phase) -> Step {
        let mut order = self.order().clone();
        order.phase = phase;
        order.since = self.now();
        Step::Change(Change { order, image: None })
    }

    /// The order that a slot is to be active.
    pub(super) fn call(&self, slot: Slot, phase: Phase) -> Step {
        let mut order = self.order().clone();
        order.active = slot;
        order.term = self.highest_term() + 1;
        order.phase = phase;
        order.since = self.now();
        // A slot obeys only with the document that its order names: one that refused the newest
        // takes over with the one that it has.
        let in_use = self
            .report(slot)
            .and_then(|report| report.configuration.hash.as_ref());
        if let Some(hash) = in_use.filter(|_| !self.judged(slot)) {
            order.config.of_mut(slot).clone_from(hash);
        }
        Step::Change(Change { order, image: None })
    }

    /// The target's image for the slot that does not serve.
    pub(super) fn replace(&self, slot: Slot, phase: Phase) -> Step {
        let mut change = self.image(slot);
        let order = &mut change.order;
        if order.active == slot {
            // The pod decided otherwise since the last order.
            order.active = slot.peer();
            order.term = self.highest_term() + 1;
        }
        order.notes.soaked = match (phase, self.order().phase) {
            (Phase::PatchOld, Phase::Soak) => self
                .answers
                .filter(|_| self.goal.on_trial)
                .and_then(|answers| soaked(answers, slot.peer())),
            _ => None,
        };
        order.phase = phase;
        order.since = self.now();
        order
            .replaced
            .clone_from(&self.pod.slots.of(slot).container.id);
        Step::Change(change)
    }

    /// The target's image for a slot that cannot run. An active one stays so.
    pub(super) fn mend(&self, slot: Slot) -> Step {
        match slot == self.active() {
            true => {
                let mut change = self.image(slot);
                change.order.since = self.now();
                Step::Change(change)
            }
            false => self.replace(slot, Phase::PatchStandby),
        }
    }

    pub(super) fn image(&self, slot: Slot) -> Change {
        let mut order = self.order().clone();
        order.notes.corrected.clear();
        order
            .revision
            .of_mut(slot)
            .clone_from(&self.goal.target.name);
        if let Some(config) = self.goal.config {
            *order.config.of_mut(slot) = config.to_owned();
        }
        let image = self.goal.target.slot_image(self.pod.fresh_count());
        Change {
            order,
            image: Some((slot, image)),
        }
    }
}
