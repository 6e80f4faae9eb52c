//! Slots whose image somebody else has changed.

use outrigger_control::Slot;

use super::Rollout;
use crate::SwapPod;
use crate::revision::KnownRevision;
use crate::swap::give_back;

/// What is to be done about a changed image.
pub(super) enum Drift {
    /// The slot gets its own image again.
    Correct(Slot, KnownRevision),
    /// It had been given back already.
    Again(String),
}

impl Rollout<'_> {
    /// Whether somebody else gave a slot of a pod at rest another image. It is given back once.
    pub(super) fn drift(&self, pod: &SwapPod) -> Option<Drift> {
        if !pod.is_observed() || pod.job_counts_restarts {
            return None;
        }
        let slot = Slot::BOTH
            .into_iter()
            .find(|slot| self.is_foreign(pod, *slot))?;
        if !pod.order.notes.corrected.contains(&slot) {
            return Some(Drift::Correct(slot, self.survey.revision_of(pod, slot)));
        }
        let name = pod.container(&self.survey.name, slot);
        Some(Drift::Again(format!(
            "pod {}: somebody gave container {name} the image {} again after it had been given back",
            pod.name,
            pod.slots.of(slot).image
        )))
    }

    /// Whether a slot runs another image than that of its revision. The same content under another
    /// name, as a mirror of a registry gives it, is no other image.
    fn is_foreign(&self, pod: &SwapPod, slot: Slot) -> bool {
        let revision = self.survey.revision_of(pod, slot);
        let found = pod.slots.of(slot);
        let Some(digest) = revision.digest.as_deref() else {
            return false;
        };
        let runs_another = || {
            let runs = found
                .container
                .digest
                .as_deref()
                .filter(|_| found.container.running);
            runs.is_some_and(|runs| runs != digest)
        };
        match found.image.rsplit_once('@') {
            Some((_, named)) => named != digest,
            None => found.image != revision.image && runs_another(),
        }
    }

    /// Gives a slot its own image again.
    pub(super) fn correct(&mut self, pod: &SwapPod, slot: Slot, revision: &KnownRevision) {
        let answers = self.seen.answers.get(&pod.uid);
        let step = give_back(pod, slot, answers, &self.goal(pod, revision));
        self.take(pod, revision, step);
    }
}
