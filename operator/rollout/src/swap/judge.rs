//! Whether a revision on trial has failed in a pod.

use jiff::SignedDuration;
use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Report, Slot};

use super::{SOON, Step, Swap};
use crate::answer::Answer;
use crate::revision::Failure;

/// Longest time of a new slot to become warm while the old one is.
const WARM_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// How many aborted handovers are a failure.
const ABORTS: u64 = 3;

impl Swap<'_> {
    /// Whether a slot's image is on trial.
    pub(super) fn judged(&self, slot: Slot) -> bool {
        self.goal.on_trial && self.has(slot)
    }

    /// A failure that a slot tells of itself.
    pub(super) fn failed(&self, reason: &'static str, what: &str) -> Step {
        Step::Failed(Failure {
            reason,
            message: format!("pod {}: {what}", self.pod.name),
            proven: false,
        })
    }

    /// A failure that kubelet tells of a container.
    pub(super) fn seen(&self, what: &str) -> Step {
        Step::Failed(Failure {
            reason: reason::REVISION_FAILED,
            message: format!("pod {}: {what}", self.pod.name),
            proven: true,
        })
    }

    /// Whether the program in a slot on trial has ended since the slot got its image.
    pub(super) fn crash(&self, slot: Slot) -> Option<Step> {
        if !self.judged(slot) {
            return None;
        }
        let name = self.container(slot);
        let container = &self.pod.slots.of(slot).container;
        let replaced = self.order().replaced.as_deref();
        if replaced.is_some_and(|replaced| container.ended_after(replaced)) {
            let how = container.trouble.as_deref().unwrap_or("it was restarted");
            let what = format!("container {name} ended: {how}");
            return Some(self.seen(&what));
        }
        let restarts = self.report(slot).map_or(0, |report| report.worker_restarts);
        if restarts > 0 {
            let what = format!("the worker in container {name} ended {restarts} times");
            return Some(self.failed(reason::REVISION_FAILED, &what));
        }
        let rescued = Slot::BOTH
            .into_iter()
            .filter_map(|slot| self.report(slot))
            .any(|report| report.pair.term == self.order().term && report.pair.takeover > 0);
        // Before the handover the pod's rescues are about the old image.
        let served =
            slot == self.active() && matches!(self.order().phase, Phase::Handover | Phase::Soak);
        (served && rescued).then(|| {
            let what = format!(
                "slot {} had to take over from container {name}",
                slot.peer()
            );
            self.failed(reason::REVISION_FAILED, &what)
        })
    }

    /// Whether a slot on trial could not take over, several times.
    pub(super) fn gave_up(&self, new: Slot) -> Option<Step> {
        let handover = &self.report(new)?.handover;
        // A store that is away stops both slots, and is not the image's fault.
        let old_is_warm = self.report(new.peer()).is_none_or(|report| report.warm);
        if !self.judged(new) || handover.aborted < ABORTS || !old_is_warm {
            return None;
        }
        let why = handover.last_error.as_deref().unwrap_or("no reason given");
        let what = format!(
            "slot {new} could not take over in {} attempts: {why}",
            handover.aborted
        );
        Some(self.failed(reason::HANDOVER_FAILED, &what))
    }

    /// What is to be done while a slot is not warm; `None` if it is.
    pub(super) fn unwarm(&self, new: Slot, report: &Report) -> Option<Step> {
        let wanted = self.order().config.of(new);
        let configuration = &report.configuration;
        let refused = configuration
            .refused
            .as_ref()
            .filter(|refusal| refusal.hash == *wanted && self.judged(new));
        if let Some(refusal) = refused {
            let what = format!("slot {new} refuses its configuration: {}", refusal.message);
            return Some(self.failed(reason::REVISION_FAILED, &what));
        }
        let configured = !self.judged(new) || configuration.hash.as_ref() == Some(wanted);
        if report.warm && configured {
            return None;
        }
        let why = match (&report.not_warm, configured) {
            (Some(why), _) => why.as_str(),
            (None, false) => "its configuration has not arrived",
            (None, true) => "no reason given",
        };
        let what = format!("slot {new} is not warm: {why}");
        let old_is_warm = self.report(new.peer()).is_some_and(|report| report.warm);
        if self.judged(new) && old_is_warm && self.elapsed() >= WARM_LIMIT {
            return Some(self.failed(reason::REVISION_FAILED, &what));
        }
        let reason = match self.elapsed() >= WARM_LIMIT {
            true => reason::WAITING,
            false => reason::SWAPPING,
        };
        Some(self.wait(reason, &what, true, SOON))
    }

    /// What is to be done about a slot that has been silent for long.
    pub(super) fn silence(&self, slot: Slot) -> Option<Step> {
        let answer = self.answers?.of(slot);
        let error = answer.unreachable(self.goal.now)?;
        let name = self.container(slot);
        let port = *self.order().admin.of(slot);
        let peer = self.answers?.of(slot.peer());
        if self.judged(slot) && matches!(peer, Answer::Report(_)) {
            let what =
                format!("container {name} does not answer, but the other slot does: {error}");
            return Some(self.failed(reason::REVISION_FAILED, &what));
        }
        let what = format!(
            "container {name} cannot be asked at {}:{port} ({error}); if a NetworkPolicy selects the pod, allow ingress from the operator's namespace to TCP port {port}",
            self.pod.ip.as_deref().unwrap_or("no address")
        );
        Some(self.wait(
            reason::SLOT_UNREACHABLE,
            &what,
            true,
            SignedDuration::from_secs(1),
        ))
    }
}
