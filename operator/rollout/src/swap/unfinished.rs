//! What a swap waits for before it goes on.

use jiff::SignedDuration;
use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Role, Slot};

use super::{LATER, SOON, Step, Swap};
use crate::answer::Answers;

/// Longest time of one attempt to hand over; an attempt of the slots themselves ends after 2 s.
const HANDOVER_LIMIT: SignedDuration = SignedDuration::from_secs(10);
/// For so long kubelet may go on telling of the container before the one that it was given.
const FORMER_TROUBLE: SignedDuration = SignedDuration::from_secs(20);
/// After this time a container that is not replaced is reported.
const REPLACED_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// After this time an order that a slot has not read is reported.
const ORDER_LIMIT: SignedDuration = SignedDuration::from_secs(5);

impl Swap<'_> {
    /// While an image patch is not finished: nothing but another image, if this one cannot start.
    pub(super) fn await_patch(&self) -> Option<Step> {
        if !self.pod.is_observed() {
            return Some(self.kubelet("kubelet has not seen its new image yet"));
        }
        if !matches!(self.order().phase, Phase::PatchStandby | Phase::PatchOld) {
            return None;
        }
        let slot = self.active().peer();
        let replaced = self.order().replaced.as_deref();
        let container = &self.pod.slots.of(slot).container;
        if container.replaces(replaced) {
            return None;
        }
        let name = self.container(slot);
        let another = container.id.as_deref() != replaced;
        let trouble = container.stuck(replaced);
        let Some(trouble) = trouble.filter(|_| another || self.is_told_anew()) else {
            return Some(self.kubelet(&format!("container {name} is being replaced")));
        };
        if !self.has(slot) {
            return Some(self.replace(slot, self.order().phase));
        }
        Some(match self.judged(slot) {
            true => self.seen(&format!("container {name} does not run: {trouble}")),
            false => {
                let what = format!("container {name} does not run: {trouble}");
                self.wait(reason::WAITING, &what, false, LATER)
            }
        })
    }

    /// While the slot that is to be active is not yet.
    pub(super) fn await_handover(&self) -> Option<Step> {
        let (new, old) = (self.active(), self.active().peer());
        if self.order().phase != Phase::Handover || self.has(old) {
            return None;
        }
        if let Some(failed) = self.crash(new) {
            return Some(failed);
        }
        let Some(answers) = self.answers else {
            return Some(Step::Wait(self.ask()));
        };
        let serves = |slot| {
            self.report(slot)
                .filter(|report| report.role == Role::Active)
        };
        let term = self.order().term;
        if serves(new).is_some_and(|report| report.pair.term >= term) && serves(old).is_none() {
            return Some(self.phase(Phase::Soak));
        }
        if let Some(failed) = self.gave_up(new) {
            return Some(failed);
        }
        if self.elapsed() >= HANDOVER_LIMIT {
            // The next attempt begins when the new slot is seen to be warm.
            return Some(self.call(old, Phase::Warm));
        }
        Some(self.handover_wait(new, answers))
    }

    pub(super) fn handover_wait(&self, new: Slot, answers: &Answers) -> Step {
        let refused = answers
            .of(new)
            .report()
            .and_then(|report| report.order_refused.as_deref());
        if let Some(refusal) = refused {
            let what = format!("slot {new} refuses its order: {refusal}");
            return self.wait(reason::HANDOVER_FAILED, &what, true, SOON);
        }
        if let Some(wait) = self.unread(new).or_else(|| self.unread(new.peer())) {
            return wait;
        }
        let what = format!("slot {new} takes over");
        self.wait(reason::SWAPPING, &what, true, SOON)
    }

    /// While a slot has not read its order.
    pub(super) fn unread(&self, slot: Slot) -> Option<Step> {
        let term = self.order().term;
        let report = self.report(slot)?;
        if report.order_term.is_some_and(|seen| seen >= term) {
            return None;
        }
        let what = format!("slot {slot} has not read the order with term {term}");
        let reason = match self.elapsed() >= ORDER_LIMIT {
            true => reason::ORDER_NOT_SEEN,
            false => reason::SWAPPING,
        };
        Some(self.wait(reason, &what, true, SOON))
    }

    /// While the new slot has to prove itself.
    pub(super) fn soak(&self) -> Option<Step> {
        let new = self.active();
        if self.order().phase != Phase::Soak || !self.judged(new) || self.has(new.peer()) {
            return None;
        }
        if let Some(failed) = self.crash(new) {
            return Some(failed);
        }
        if self.answers.is_none() {
            return Some(Step::Wait(self.ask()));
        }
        let left = self.goal.soak - self.elapsed();
        if left.is_positive() {
            let what = format!("slot {new} soaks");
            return Some(self.wait(reason::SWAPPING, &what, true, left.min(LATER)));
        }
        // What cannot be asked has not proved itself.
        if self.report(new).is_some() {
            return None;
        }
        let what = format!("slot {new} does not answer");
        let wait = || self.wait(reason::SWAPPING, &what, true, SOON);
        Some(self.silence(new).unwrap_or_else(wait))
    }

    /// While a slot that was mended has not started: a pod has one unfinished image patch at most.
    pub(super) fn starting(&self, slot: Slot) -> Option<Step> {
        let container = &self.pod.slots.of(slot).container;
        if container.running {
            return None;
        }
        let name = self.container(slot);
        let trouble = container.trouble.as_ref();
        Some(match trouble.filter(|_| self.is_told_anew()) {
            Some(trouble) if self.judged(slot) => {
                self.seen(&format!("container {name} does not run: {trouble}"))
            }
            Some(trouble) => {
                let what = format!("container {name} does not run: {trouble}");
                self.wait(reason::WAITING, &what, false, LATER)
            }
            None => self.kubelet(&format!("container {name} is being replaced")),
        })
    }

    /// Whether kubelet has had the time to tell of the new image: until it has tried that one, it
    /// repeats what was wrong with the former.
    pub(super) fn is_told_anew(&self) -> bool {
        self.elapsed() >= FORMER_TROUBLE
    }

    /// While kubelet is at work; after a while that is told, as its node may be gone.
    pub(super) fn kubelet(&self, what: &str) -> Step {
        let reason = match self.elapsed() >= REPLACED_LIMIT {
            true => reason::WAITING,
            false => reason::SWAPPING,
        };
        self.wait(reason, what, false, LATER)
    }
}
