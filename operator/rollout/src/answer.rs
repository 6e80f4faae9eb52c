//! What the slots of a pod answered.

use jiff::{SignedDuration, Timestamp};
use outrigger_control::{Answered, PerSlot, Report, Role, Slot, Soaked};

/// How long a slot may be silent before it counts as unreachable.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);

/// What came of asking a slot for its report.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Its report.
    Report(Box<Report>),
    /// None.
    Silent {
        /// Since when it has not answered.
        since: Timestamp,
        /// Why, as far as the client could tell.
        error: String,
    },
}

/// The answers of both slots.
pub type Answers = PerSlot<Answer>;

impl Answer {
    /// The report, if there is one.
    pub fn report(&self) -> Option<&Report> {
        match self {
            Answer::Report(report) => Some(report),
            Answer::Silent { .. } => None,
        }
    }

    /// Why the slot is unreachable, once it has been silent for 30 s.
    pub(crate) fn unreachable(&self, now: Timestamp) -> Option<&str> {
        match self {
            Answer::Silent { since, error } if now.duration_since(*since) >= PATIENCE => {
                Some(error)
            }
            _ => None,
        }
    }
}

/// The slot that serves, as the slots themselves say.
pub(crate) fn serving(answers: &Answers) -> Option<Slot> {
    Slot::BOTH
        .into_iter()
        .filter_map(|slot| Some((slot, answers.of(slot).report()?)))
        .filter(|(_, report)| report.role == Role::Active)
        .max_by_key(|(_, report)| report.pair)
        .map(|(slot, _)| slot)
}

/// The highest term that a slot has recorded or read.
pub(crate) fn highest_term(answers: &Answers) -> u64 {
    Slot::BOTH
        .into_iter()
        .filter_map(|slot| answers.of(slot).report())
        .flat_map(|report| [Some(report.pair.term), report.order_term])
        .flatten()
        .max()
        .unwrap_or(0)
}

/// What both slots have answered, if both say so. The old one's worker runs since before the
/// handover, so its numbers are those of the former image.
pub(crate) fn soaked(answers: &Answers, new: Slot) -> Option<Soaked> {
    let answered = |slot| {
        let traffic = &answers.of(slot).report()?.traffic;
        Some(Answered {
            all: traffic.answered,
            errors: traffic.server_errors,
        })
    };
    Some(Soaked {
        new: answered(new)?,
        old: answered(new.peer())?,
    })
}
