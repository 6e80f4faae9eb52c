//! The swap of one pod: from what is seen of it to the next write.

mod change;
mod judge;
mod single;
mod unfinished;

use jiff::{SignedDuration, Timestamp};
use outrigger_api::conditions::reason;
use outrigger_control::{Order, Phase, Report, Slot};

use crate::SwapPod;
use crate::answer::{Answer, Answers, highest_term, serving};
use crate::revision::{Failure, KnownRevision};

/// Pause between two looks at slots that are about to change.
const SOON: SignedDuration = SignedDuration::from_millis(150);
/// Pause between two looks at what takes a while.
const LATER: SignedDuration = SignedDuration::from_secs(2);

/// Where a pod is to go.
#[derive(Clone, Copy, Debug)]
pub struct Goal<'a> {
    /// Name of the sidecar.
    pub sidecar: &'a str,
    /// The revision that both slots are to have.
    pub target: &'a KnownRevision,
    /// Whether the target has yet to prove itself: it is judged, and soaks.
    pub on_trial: bool,
    /// Whether slots are replaced without a handover that is waited for, and without a soak.
    pub in_place: bool,
    /// Hash of the document that slots are to use, if they can find it.
    pub config: Option<&'a str>,
    /// How long the target must serve before the old slot follows.
    pub soak: SignedDuration,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done with a pod.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Nothing: it is where it is to be.
    Rest,
    /// Write this.
    Change(Change),
    /// Look again later.
    Wait(Waiting),
    /// Mark the target as failed.
    Failed(Failure),
}

/// New orders and, with them, the new image of at most one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The orders.
    pub order: Order,
    /// The slot with a new image, and the image.
    pub image: Option<(Slot, String)>,
}

/// What a pod waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// The reason of the condition that reports it.
    pub reason: &'static str,
    /// What it waits for, with the pod's name.
    pub message: String,
    /// Whether the answers of its slots may end the wait.
    pub ask: bool,
    /// When to look again, if nothing is heard of before.
    pub again: SignedDuration,
}

/// The next step of a pod towards its goal. It is derived from the pod alone, so it does not matter
/// who took the steps before, or whether anybody remembers.
///
/// Whatever the phase, the revisions of the two slots say what is missing: when neither slot has
/// the target, the standby gets it; when the standby has it, it becomes active; when the active
/// slot has it, the old one follows. So a change of the goal in the middle of a swap needs no rules
/// of its own.
pub fn step(pod: &SwapPod, answers: Option<&Answers>, goal: &Goal<'_>) -> Step {
    let swap = Swap { pod, answers, goal };
    if pod.order.single {
        return swap.step_single();
    }
    swap.await_patch()
        .or_else(|| swap.await_handover())
        .or_else(|| swap.soak())
        .unwrap_or_else(|| swap.advance())
}

/// The next step of a pod at rest whose slot has another image than that of its revision, the goal's
/// target.
pub(crate) fn give_back(
    pod: &SwapPod,
    slot: Slot,
    answers: Option<&Answers>,
    goal: &Goal<'_>,
) -> Step {
    let swap = Swap { pod, answers, goal };
    let step = match (pod.order.single, swap.who_serves()) {
        (true, _) => swap.replace_single(),
        (false, Ok(_)) => swap.replace(slot, Phase::PatchStandby),
        (false, Err(waiting)) => return Step::Wait(waiting),
    };
    let Step::Change(mut change) = step else {
        return step;
    };
    change
        .order
        .notes
        .corrected
        .clone_from(&pod.order.notes.corrected);
    change.order.notes.corrected.push(slot);
    Step::Change(change)
}

struct Swap<'a> {
    pod: &'a SwapPod,
    answers: Option<&'a Answers>,
    goal: &'a Goal<'a>,
}

impl Swap<'_> {
    fn order(&self) -> &Order {
        &self.pod.order
    }

    /// The slot that the orders call active.
    fn active(&self) -> Slot {
        self.order().active
    }

    fn has(&self, slot: Slot) -> bool {
        *self.order().revision.of(slot) == self.goal.target.name
    }

    fn report(&self, slot: Slot) -> Option<&Report> {
        self.answers?.of(slot).report()
    }

    /// The time since the phase began; long, if the orders do not say.
    fn elapsed(&self) -> SignedDuration {
        let since = self.order().since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        self.goal.now.duration_since(since)
    }

    fn container(&self, slot: Slot) -> String {
        self.pod.container(self.goal.sidecar, slot)
    }

    fn waiting(
        &self,
        reason: &'static str,
        what: &str,
        ask: bool,
        again: SignedDuration,
    ) -> Waiting {
        Waiting {
            reason,
            message: format!("pod {}: {what}", self.pod.name),
            ask,
            again,
        }
    }

    fn wait(&self, reason: &'static str, what: &str, ask: bool, again: SignedDuration) -> Step {
        Step::Wait(self.waiting(reason, what, ask, again))
    }

    /// While slots have not answered that are about to.
    fn ask(&self) -> Waiting {
        self.waiting(reason::SWAPPING, "its slots are being asked", true, SOON)
    }

    fn advance(&self) -> Step {
        let (active, standby) = (self.active(), self.active().peer());
        match (self.has(active), self.has(standby)) {
            (true, true) => self.settle(),
            (true, false) => self.follow(standby),
            (false, true) => self.bring_in(standby),
            (false, false) => self.begin(),
        }
    }

    /// Both slots have the target.
    fn settle(&self) -> Step {
        let order = self.order();
        let mut rest = order.clone();
        rest.replaced = None;
        if let Some(config) = self.goal.config {
            rest.config.a = config.to_owned();
            rest.config.b = config.to_owned();
        }
        if order.phase != Phase::Rest {
            rest.phase = Phase::Rest;
            rest.since = self.now();
        }
        match rest == *order {
            true => Step::Rest,
            false => Step::Change(Change {
                order: rest,
                image: None,
            }),
        }
    }

    /// Neither slot has the target: the one that does not serve gets it.
    fn begin(&self) -> Step {
        if let Some(slot) = self.pod.broken() {
            return self.mend(slot);
        }
        let serving = match self.who_serves() {
            Ok(slot) => slot,
            Err(waiting) => return Step::Wait(waiting),
        };
        self.replace(serving.peer(), Phase::PatchStandby)
    }

    /// The slot that is to be active has the target, the other one does not.
    fn follow(&self, old: Slot) -> Step {
        if !self.pod.slots.of(old).container.running {
            let first = self.starting(old.peer());
            return first.unwrap_or_else(|| self.replace(old, Phase::PatchOld));
        }
        let serving = match self.who_serves() {
            Ok(slot) => slot,
            Err(waiting) => return Step::Wait(waiting),
        };
        if serving == old {
            return self.bring_in(old.peer());
        }
        let unfinished = self.report(old).filter(|report| !report.drained);
        match unfinished {
            Some(report) => {
                let what = format!(
                    "slot {old} finishes its last {} connections",
                    report.traffic.connections
                );
                self.wait(reason::SWAPPING, &what, true, SOON)
            }
            None => self.replace(old, Phase::PatchOld),
        }
    }

    /// The slot that has the target does not serve yet.
    fn bring_in(&self, new: Slot) -> Step {
        if let Some(failed) = self.crash(new) {
            return failed;
        }
        if self.goal.in_place {
            // The slots pass on what they have when the old one is told to end.
            return match self.who_serves() {
                Ok(_) => self.replace(new.peer(), Phase::PatchOld),
                Err(waiting) => Step::Wait(waiting),
            };
        }
        let phase = self.order().phase;
        if self.judged(new) && phase != Phase::Warm {
            return self.phase(Phase::Warm);
        }
        let Some(answers) = self.answers else {
            return Step::Wait(self.ask());
        };
        let Answer::Report(report) = answers.of(new) else {
            let what = format!("slot {new} does not answer yet");
            let wait = || self.wait(reason::SWAPPING, &what, true, SOON);
            return self.silence(new).unwrap_or_else(wait);
        };
        let unread = self.unread(new).filter(|_| self.judged(new));
        match unread.or_else(|| self.unwarm(new, report)) {
            None => self.call(new, Phase::Handover),
            Some(_) if phase != Phase::Warm => self.phase(Phase::Warm),
            Some(step) => step,
        }
    }

    /// The slot that serves: as the slots say, or when they are silent for long, as ordered.
    fn who_serves(&self) -> Result<Slot, Waiting> {
        let Some(answers) = self.answers else {
            return Err(self.ask());
        };
        if let Some(slot) = serving(answers) {
            return Ok(slot);
        }
        let heard = |slot: Slot| {
            let answer = answers.of(slot);
            answer.report().is_some() || answer.unreachable(self.goal.now).is_some()
        };
        match Slot::BOTH.into_iter().all(heard) {
            true => Ok(self.active()),
            false => Err(self.ask()),
        }
    }

    fn highest_term(&self) -> u64 {
        let recorded = self.answers.map_or(0, highest_term);
        recorded.max(self.order().term)
    }

    fn now(&self) -> String {
        format!("{:.3}", self.goal.now)
    }
}
