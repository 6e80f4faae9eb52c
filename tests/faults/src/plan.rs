use std::time::Duration;

use crate::Verb;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// It fails before anything is done: 500.
    Before,
    /// It is carried out, and the answer is lost.
    After,
    /// It is refused, as if somebody else had written the object meanwhile: 409.
    Conflict,
    /// It is refused for now, with `Retry-After: 1`: 429.
    TooManyRequests,
    /// It is refused for now, with `Retry-After: 1`: 503.
    Unavailable,
    /// The answer's body takes its time.
    SlowBody(Duration),
    /// A list is answered as it was answered before, as by a server that lags behind.
    StaleList,
    /// A watch ends instead of the event after so many.
    WatchClosed(usize),
    /// A watch loses the event after so many and says 410 Gone.
    WatchGone(usize),
}

/// How many calls a storm lasts. The calls after it do not fail, so that there is an end.
const STORM: usize = 120;
/// Of so many calls of a storm one fails.
const ONE_OF: usize = 4;
/// Longer than what happens at the same time.
const SLOW: Duration = Duration::from_millis(50);

/// Which calls go wrong.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The process dies after so many writes: no later call is sent or answered.
    pub crash_after: Option<usize>,
    /// Faults of single calls, by the number of the call, from 0.
    pub single: Vec<(usize, Fault)>,
    /// Seed of random faults for the first calls.
    pub storm: Option<u64>,
}

impl Plan {
    /// Nothing goes wrong.
    pub fn calm() -> Plan {
        Plan::default()
    }

    /// The process dies after so many writes. What it reads changes nothing, so that these are all
    /// states that a death can leave behind.
    pub fn crash_after(writes: usize) -> Plan {
        Plan {
            crash_after: Some(writes),
            ..Plan::default()
        }
    }

    /// Of the first calls, many go wrong in any way.
    pub fn storm(seed: u64) -> Plan {
        Plan {
            storm: Some(seed),
            ..Plan::default()
        }
    }

    /// The fault of a call by its number, if it has one.
    pub(crate) fn fault(&self, number: usize, verb: Verb) -> Option<Fault> {
        let mut single = self.single.iter();
        if let Some((_, fault)) = single.find(|(planned, _)| *planned == number) {
            return Some(*fault);
        }
        let seed = self.storm.filter(|_| number < STORM)?;
        let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1 << 20) + number as u64);
        if random.usize(..ONE_OF) > 0 {
            return None;
        }
        let any = [
            Fault::Before,
            Fault::After,
            Fault::TooManyRequests,
            Fault::Unavailable,
            Fault::SlowBody(SLOW),
        ];
        let own: &[Fault] = match verb {
            Verb::Watch => &[
                Fault::WatchClosed(1),
                Fault::WatchGone(0),
                Fault::WatchGone(2),
            ],
            Verb::List => &[Fault::StaleList],
            Verb::Get => &[],
            // A create has no version that could be outdated.
            Verb::Create | Verb::DryRun => &[],
            Verb::Update | Verb::Patch | Verb::Apply | Verb::Delete => &[Fault::Conflict],
        };
        let all: Vec<Fault> = any.into_iter().chain(own.iter().copied()).collect();
        random.choice(all)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_storm_is_the_same_for_the_same_seed_and_has_an_end() {
        let faults = |seed| -> Vec<_> {
            let plan = Plan::storm(seed);
            (0..2 * STORM)
                .map(|number| plan.fault(number, Verb::Patch))
                .collect()
        };
        assert_eq!(faults(7), faults(7));
        assert_ne!(faults(7), faults(8));
        assert!(faults(7)[STORM..].iter().all(Option::is_none));
    }

    #[test]
    fn every_fault_of_a_verb_comes_up() {
        let of = |verb| -> HashSet<Fault> {
            let storms = (0..20).map(Plan::storm);
            storms
                .flat_map(|plan| (0..STORM).filter_map(move |number| plan.fault(number, verb)))
                .collect()
        };
        assert!(of(Verb::Watch).contains(&Fault::WatchGone(0)));
        assert!(of(Verb::List).contains(&Fault::StaleList));
        assert!(of(Verb::Patch).contains(&Fault::Conflict));
        assert!(!of(Verb::Create).contains(&Fault::Conflict));
        assert_eq!(of(Verb::Get).len(), 5);
    }
}
