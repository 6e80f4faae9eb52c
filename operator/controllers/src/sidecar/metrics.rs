use jiff::{SignedDuration, Timestamp};
use outrigger_control::Phase;
use outrigger_rollout::PodChange;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// How a swap ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Ended {
    /// Both slots have the new image.
    Succeeded,
    /// Both slots have the former image again: the new one failed, or the spec was changed back.
    TakenBack,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Swaps {
    result: Ended,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phases {
    phase: String,
}

/// Counters of swaps. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct SwapMetrics {
    swaps: Family<Swaps, Counter>,
    phases: Family<Phases, Histogram>,
    gaps: Histogram,
    failed: Counter,
}

impl SwapMetrics {
    pub(crate) fn register(registry: &mut Registry) -> SwapMetrics {
        let metrics = SwapMetrics {
            swaps: Family::default(),
            failed: Counter::default(),
            gaps: Histogram::new(exponential_buckets(0.5, 2.0, 10)),
            phases: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.05, 2.0, 12))
            }),
        };
        registry.register(
            "outrigger_swaps",
            "Swaps of a sidecar's image in a pod, by result",
            metrics.swaps.clone(),
        );
        registry.register(
            "outrigger_swap_phase_duration_seconds",
            "Time that a pod's swap spent in a phase",
            metrics.phases.clone(),
        );
        registry.register(
            "outrigger_swap_gap_seconds",
            "Time that a sidecar with one container was away while its image was replaced",
            metrics.gaps.clone(),
        );
        registry.register(
            "outrigger_revisions_failed",
            "Images that were marked as failed",
            metrics.failed.clone(),
        );
        for result in [Ended::Succeeded, Ended::TakenBack] {
            drop(metrics.swaps.get_or_create(&Swaps { result }));
        }
        metrics
    }

    pub(crate) fn ended(&self, result: Ended) {
        self.swaps.get_or_create(&Swaps { result }).inc();
    }

    /// Counts an image that was marked as failed.
    pub(crate) fn failed(&self) {
        self.failed.inc();
    }

    /// Counts a write to a pod.
    pub(crate) fn written(&self, change: &PodChange) {
        if let Some(gap) = change.gap {
            self.gaps.observe(gap.as_secs_f64());
        }
        let Some(duration) = spent(change) else {
            return;
        };
        let phase = change.before.phase.to_string();
        self.phases
            .get_or_create(&Phases { phase })
            .observe(duration.as_secs_f64());
    }
}

/// The time that a pod spent in a phase of a swap that a write ends.
pub(super) fn spent(change: &PodChange) -> Option<SignedDuration> {
    let (before, after) = (&change.before, &change.after);
    if before.phase == Phase::Rest || before.since == after.since {
        return None;
    }
    let since = |text: &str| text.parse::<Timestamp>().ok();
    Some(since(&after.since)?.duration_since(since(&before.since)?))
}
