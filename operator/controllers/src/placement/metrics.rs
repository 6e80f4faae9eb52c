use std::time::Duration;

use outrigger_placement::AskedFor;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// What became of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Placed {
    /// It may run on one node only.
    Required,
    /// It was asked onto a node.
    Preferred,
    /// It was let go without a node.
    Anywhere,
    /// It was deleted, to be created anew.
    Replaced,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Placements {
    result: Placed,
}

/// Counters of placements. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct PlacementMetrics {
    placements: Family<Placements, Counter>,
    waited: Histogram,
}

impl PlacementMetrics {
    pub(crate) fn register(registry: &mut Registry) -> PlacementMetrics {
        let metrics = PlacementMetrics {
            placements: Family::default(),
            waited: Histogram::new(exponential_buckets(0.005, 3.0, 11)),
        };
        registry.register(
            "outrigger_placements",
            "Pods that were placed by their data, by what became of them",
            metrics.placements.clone(),
        );
        registry.register(
            "outrigger_placement_gate_seconds",
            "Time from when the leader saw a pod at the gate until it let it go",
            metrics.waited.clone(),
        );
        let all = [
            Placed::Required,
            Placed::Preferred,
            Placed::Anywhere,
            Placed::Replaced,
        ];
        for result in all {
            drop(metrics.placements.get_or_create(&Placements { result }));
        }
        metrics
    }

    pub(super) fn count(&self, result: Placed) {
        self.placements.get_or_create(&Placements { result }).inc();
    }

    pub(super) fn waited(&self, time: Duration) {
        self.waited.observe(time.as_secs_f64());
    }
}

impl From<AskedFor> for Placed {
    fn from(asked: AskedFor) -> Placed {
        match asked {
            AskedFor::Required => Placed::Required,
            AskedFor::Preferred => Placed::Preferred,
            AskedFor::None => Placed::Anywhere,
        }
    }
}
