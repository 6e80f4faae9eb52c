use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::dataset::ScanMetrics;
use crate::eviction::EvictionMetrics;
use crate::placement::PlacementMetrics;
use crate::sidecar::SwapMetrics;

/// One of the controllers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Controller {
    Application,
    Dataset,
    Sidecar,
    Sharing,
    Placement,
}

/// How a reconciliation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciliation {
    controller: Controller,
    result: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    controller: Controller,
}

/// Counters of the controllers.
#[derive(Clone)]
pub struct Metrics {
    reconciliations: Family<Reconciliation, Counter>,
    duration: Family<Of, Histogram>,
    pub(crate) evictions: EvictionMetrics,
    pub(crate) scans: ScanMetrics,
    pub(crate) swaps: SwapMetrics,
    pub(crate) placements: PlacementMetrics,
}

impl Metrics {
    /// Registers the counters.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            reconciliations: Family::default(),
            duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 4.0, 8))
            }),
            evictions: EvictionMetrics::register(registry),
            scans: ScanMetrics::register(registry),
            swaps: SwapMetrics::register(registry),
            placements: PlacementMetrics::register(registry),
        };
        registry.register(
            "outrigger_reconciliations",
            "Reconciliations of objects, by controller and result",
            metrics.reconciliations.clone(),
        );
        registry.register(
            "outrigger_reconciliation_duration_seconds",
            "Time from the start of a reconciliation to its end",
            metrics.duration.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, controller: Controller, result: Outcome, duration: Duration) {
        self.reconciliations
            .get_or_create(&Reconciliation { controller, result })
            .inc();
        self.duration
            .get_or_create(&Of { controller })
            .observe(duration.as_secs_f64());
    }
}
