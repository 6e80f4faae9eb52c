//! Whether a revision on trial has failed in a pod.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use outrigger_api::conditions::reason;
use outrigger_control::{MOST_TENANTS_TOLD, Phase, Report, Slot};

use super::{SOON, Step, Swap};
use crate::answer::Answer;
use crate::revision::Failure;

/// Longest time of a new slot to become warm while the old one is.
const WARM_LIMIT: SignedDuration = SignedDuration::from_secs(60);
/// How often the limit begins anew while a store is away: what is back for both is seen by one slot
/// before the other.
const AWAY: SignedDuration = SignedDuration::from_secs(15);
/// How many aborted handovers are a failure.
const ABORTS: u64 = 3;
/// How a new slot's reason begins if the owner gave the handover up: then the owner knows why.
const GIVEN_UP: &str = "the owner gave the handover up";

/// What a slot cannot do for an application.
enum Behind<'r> {
    Refuses { application: &'r str, why: &'r str },
    Cold { application: &'r str, why: &'r str },
}

/// The first application of a list that is not on another one, as far as that names all.
fn more<'r>(
    list: &'r BTreeMap<String, String>,
    other: &BTreeMap<String, String>,
) -> Option<(&'r str, &'r str)> {
    let mut missing = list
        .iter()
        .filter(|(application, _)| !other.contains_key(*application));
    let (application, why) = missing.next()?;
    (other.len() < MOST_TENANTS_TOLD).then_some((application, why))
}

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

    /// What a slot on trial cannot do for an application that shares the sidecar, while the other
    /// slot can. What neither can is not the image's fault.
    fn behind<'r>(&'r self, new: Slot, report: &'r Report) -> Option<Behind<'r>> {
        let old = self.report(new.peer())?;
        let same = report.configuration.hash == old.configuration.hash;
        if !self.judged(new) || !old.warm || !same {
            return None;
        }
        let refused = &report.configuration.refused_tenants;
        let refuses = more(refused, &old.configuration.refused_tenants)
            .map(|(application, why)| Behind::Refuses { application, why });
        refuses.or_else(|| {
            more(&report.cold_tenants, &old.cold_tenants)
                .map(|(application, why)| Behind::Cold { application, why })
        })
    }

    /// Whether a slot on trial could not take over, several times.
    pub(super) fn gave_up(&self, new: Slot) -> Option<Step> {
        let handover = &self.report(new)?.handover;
        let old = self.report(new.peer());
        // A store that is away stops both slots, and is not the image's fault.
        let old_is_warm = old.is_none_or(|report| report.warm);
        if !self.judged(new) || handover.aborted < ABORTS || !old_is_warm {
            return None;
        }
        let why = handover.last_error.as_deref().unwrap_or("no reason given");
        let owners = old.filter(|_| why.starts_with(GIVEN_UP));
        let why = match owners.and_then(|old| old.handover.last_error.as_deref()) {
            Some(why) => format!("; slot {} gave the last one up: {why}", new.peer()),
            None => format!(": {why}"),
        };
        let what = format!(
            "slot {new} could not take over in {} attempts{why}",
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
        let behind = self.behind(new, report);
        if report.warm && configured {
            match behind {
                None => return None,
                Some(Behind::Refuses { application, why }) => {
                    let what = format!(
                        "slot {new} refuses the configuration of application {application}: {why}"
                    );
                    return Some(self.failed(reason::REVISION_FAILED, &what));
                }
                Some(Behind::Cold { .. }) => {}
            }
        }
        let tenant;
        let why = match (&report.not_warm, behind) {
            (Some(why), _) => why.as_str(),
            _ if !configured => "its configuration has not arrived",
            (None, Some(Behind::Cold { application, why })) => {
                tenant = format!("application {application}: {why}");
                &tenant
            }
            (None, _) => "no reason given",
        };
        let what = format!("slot {new} is not warm: {why}");
        let old_is_warm = self.report(new.peer()).is_some_and(|report| report.warm);
        let late = self.elapsed() >= WARM_LIMIT;
        if self.judged(new) {
            if late && old_is_warm {
                return Some(self.failed(reason::REVISION_FAILED, &what));
            }
            if self.elapsed() >= AWAY && !old_is_warm {
                return Some(self.phase(Phase::Warm));
            }
        }
        let reason = match late || !old_is_warm {
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

#[cfg(test)]
mod tests;
