//! Pods that were evicted, and whose successors are still to come.

use jiff::{SignedDuration, Timestamp};
use outrigger_api::{PodSwap, UpdateStrategy};

use super::Observed;
use super::survey::Survey;
use crate::SwapPod;

/// The phase in the status of a pod that ends after its eviction.
const EVICTED: &str = "Evicted";
/// The phase in the status of a pod that is gone, while its successor is awaited.
const GONE: &str = "Gone";
/// So long a pod that is gone counts: its controller creates the successor within this time.
const SUCCESSION: SignedDuration = SignedDuration::from_secs(5);

/// What the status remembers of evictions. A pod that is gone leaves nothing else behind, and its
/// successor is created a moment later.
#[derive(Debug, Default)]
pub(super) struct Evictions {
    entries: Vec<PodSwap>,
    recreates: bool,
    update: String,
}

impl Evictions {
    pub(super) fn new(seen: &Observed<'_>, survey: &Survey<'_>) -> Evictions {
        let mut evictions = Evictions {
            recreates: survey.strategy == UpdateStrategy::Recreate,
            update: survey.update.name.clone(),
            entries: Vec::new(),
        };
        if !evictions.recreates {
            return evictions;
        }
        for pod in survey.pods.iter() {
            if evictions.ends(pod) {
                evictions.begin(pod, seen.now);
            }
        }
        let status = seen.sidecar.status.as_ref();
        for former in status.into_iter().flat_map(|status| &status.swaps) {
            evictions.remember(former, &survey.pods, seen.now);
        }
        evictions
    }

    fn remember(&mut self, former: &PodSwap, pods: &[SwapPod], now: Timestamp) {
        if former.phase != EVICTED && former.phase != GONE {
            return;
        }
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.pod == former.pod) {
            entry.since.clone_from(&former.since);
            return;
        }
        if pods.iter().any(|pod| pod.name == former.pod) {
            // Its successor has the same name, or it was not evicted after all.
            return;
        }
        let gone = PodSwap {
            phase: GONE.to_owned(),
            since: match former.phase == GONE {
                true => former.since.clone(),
                false => format!("{now:.3}"),
            },
            ..former.clone()
        };
        let since: Timestamp = gone.since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        if now.duration_since(since) < SUCCESSION {
            self.entries.push(gone);
        }
    }

    fn ends(&self, pod: &SwapPod) -> bool {
        pod.deleting && !pod.has_both(&self.update)
    }

    /// Whether a pod ends, or follows one that has ended and is not Ready yet.
    pub(super) fn counts(&self, pod: &SwapPod) -> bool {
        let follows = !pod.ready && !pod.deleting && pod.has_both(&self.update);
        self.recreates && (self.ends(pod) || follows)
    }

    /// How many pods are gone without a successor.
    pub(super) fn gone(&self) -> usize {
        let gone = self.entries.iter().filter(|entry| entry.phase == GONE);
        gone.count()
    }

    /// A pod is evicted.
    pub(super) fn begin(&mut self, pod: &SwapPod, now: Timestamp) {
        self.entries.push(PodSwap {
            pod: pod.name.clone(),
            phase: EVICTED.to_owned(),
            since: format!("{now:.3}"),
        });
    }

    /// For the status.
    pub(super) fn entries(&self) -> &[PodSwap] {
        &self.entries
    }
}
