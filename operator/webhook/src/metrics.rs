use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::Verdict;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Untouched,
    Disowned,
    Injected,
    Refused,
    Failed,
    Malformed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    result: Outcome,
}

/// Figures of the admission server. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<Labels, Counter>,
    duration: Histogram,
}

impl Metrics {
    /// Registers the figures.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            requests: Family::default(),
            duration: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
        };
        registry.register(
            "outrigger_admission_requests",
            "Admission requests by what became of the pod",
            metrics.requests.clone(),
        );
        registry.register(
            "outrigger_admission_duration_seconds",
            "Time from an admission request to its answer",
            metrics.duration.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, result: Outcome, duration: Duration) {
        self.requests.get_or_create(&Labels { result }).inc();
        self.duration.observe(duration.as_secs_f64());
    }
}

impl From<&Verdict> for Outcome {
    fn from(verdict: &Verdict) -> Outcome {
        match verdict {
            Verdict::Untouched => Outcome::Untouched,
            Verdict::Disowned(_) => Outcome::Disowned,
            Verdict::Injected { .. } => Outcome::Injected,
            Verdict::Refused(_) => Outcome::Refused,
        }
    }
}
