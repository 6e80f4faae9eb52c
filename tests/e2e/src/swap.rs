//! A swap as seen from outside: how long each phase took, by the pods' annotations.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use outrigger_control::Phase;

use crate::observe::PhaseChange;

/// The phases in the order in which a pod goes through them.
pub const PHASES: [&str; 6] = [
    "Preflight",
    "PatchStandby",
    "Warm",
    "Handover",
    "Soak",
    "PatchOld",
];

/// A swap of one sidecar's image in all its pods.
#[derive(Clone, Debug)]
pub struct Swap {
    /// The image before.
    pub from: String,
    /// The image after.
    pub to: String,
    /// When the new image was asked for.
    pub begin: Instant,
    /// When all pods had it, and the IntegrationSidecar said so.
    pub end: Instant,
    /// The time in each phase, over all pods. `Preflight` lasts until the first pod is touched;
    /// `Other` is the time in which no pod was in a phase.
    pub phases: BTreeMap<String, Duration>,
}

impl Swap {
    /// From the phases that were seen, those of other swaps among them.
    pub fn new(
        from: String,
        to: String,
        begin: Instant,
        end: Instant,
        seen: &[PhaseChange],
    ) -> Swap {
        let within = |change: &&PhaseChange| begin <= change.at && change.at <= end;
        let seen: Vec<_> = seen.iter().filter(within).collect();
        let mut phases: BTreeMap<String, Duration> = BTreeMap::new();
        let first = seen.first().map_or(end, |change| change.at);
        phases.insert("Preflight".to_owned(), first - begin);
        for (position, change) in seen.iter().enumerate() {
            if change.phase == Phase::Rest {
                continue;
            }
            let mut later = seen[position + 1..].iter();
            let next = later.find(|next| next.pod == change.pod);
            let time = next.map_or(end, |next| next.at) - change.at;
            *phases.entry(change.phase.to_string()).or_default() += time;
        }
        let told: Duration = phases.values().sum();
        phases.insert("Other".to_owned(), (end - begin).saturating_sub(told));
        Swap {
            from,
            to,
            begin,
            end,
            phases,
        }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        self.end - self.begin
    }

    /// Whether a moment lies in it.
    pub fn contains(&self, at: Instant) -> bool {
        self.begin <= at && at <= self.end
    }
}

/// The most pods that were in a phase of a swap at one time.
pub fn most_at_once(phases: &[PhaseChange]) -> usize {
    let mut now = BTreeMap::new();
    let counts = phases.iter().map(|change| {
        now.insert(&change.pod, change.phase);
        now.values().filter(|phase| **phase != Phase::Rest).count()
    });
    counts.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_of_all_pods_are_summed_and_the_rest_is_told() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let change = |seconds, pod: &str, phase| PhaseChange {
            at: at(seconds),
            pod: pod.to_owned(),
            phase,
        };
        let seen = [
            change(3, "one", Phase::PatchStandby),
            change(5, "one", Phase::Soak),
            change(9, "one", Phase::Rest),
            change(10, "two", Phase::PatchStandby),
            change(11, "two", Phase::Soak),
            change(15, "two", Phase::Rest),
            change(99, "two", Phase::PatchStandby),
        ];
        let swap = Swap::new("1".into(), "2".into(), begin, at(16), &seen);
        let seconds = |name: &str| swap.phases.get(name).map(Duration::as_secs);
        assert_eq!(seconds("Preflight"), Some(3));
        assert_eq!(seconds("PatchStandby"), Some(3));
        assert_eq!(seconds("Soak"), Some(8));
        assert_eq!(seconds("Rest"), None);
        assert_eq!(seconds("Other"), Some(2));
        assert!(swap.contains(at(16)) && !swap.contains(at(17)));
    }
}
