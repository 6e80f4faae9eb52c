//! Pods that were evicted and end.

use jiff::Timestamp;
use outrigger_api::{PodSwap, UpdateStrategy};

use super::Observed;
use super::survey::Survey;
use crate::SwapPod;

/// The phase in the status of a pod that ends after its eviction.
const EVICTED: &str = "Evicted";

/// The evictions of the strategy Recreate that have not come to their end.
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
        let status = seen.sidecar.status.as_ref();
        let mut ended = Vec::new();
        let former = status.map_or(&[][..], |status| &status.swaps);
        for pod in survey.pods.iter().filter(|pod| evictions.ends(pod)) {
            let mut former = former.iter();
            let known = former.find(|swap| swap.pod == pod.name && swap.phase == EVICTED);
            let since = known.map_or_else(|| format!("{:.3}", seen.now), |it| it.since.clone());
            ended.push(entry(pod, since));
        }
        evictions.entries = ended;
        evictions
    }

    fn ends(&self, pod: &SwapPod) -> bool {
        pod.deleting && !pod.has_both(&self.update)
    }

    /// Whether a pod ends, or follows one that has ended and is not Ready yet.
    pub(super) fn counts(&self, pod: &SwapPod) -> bool {
        let follows = !pod.ready && !pod.deleting && pod.has_both(&self.update);
        self.recreates && (self.ends(pod) || follows)
    }

    /// A pod is evicted.
    pub(super) fn begin(&mut self, pod: &SwapPod, now: Timestamp) {
        let since = format!("{now:.3}");
        self.entries.push(entry(pod, since));
    }

    /// For the status.
    pub(super) fn entries(&self) -> &[PodSwap] {
        &self.entries
    }
}

fn entry(pod: &SwapPod, since: String) -> PodSwap {
    PodSwap {
        pod: pod.name.clone(),
        phase: EVICTED.to_owned(),
        since,
    }
}
