//! Figures of the function. Labels are names of functions and kinds of results, never keys or values.

use std::fmt;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::store::{Connections, Kind, Stores};

/// Upper bounds in seconds; a request ends after 8 s at the latest.
const LATENCY_BUCKETS: [f64; 13] = [
    0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.125, 0.25, 1.0, 4.0, 10.0,
];

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A document was stored.
    Stored,
    /// Its key was taken, by an equal document.
    Repeated,
    /// Its key was taken, by another document.
    Conflicting,
    /// An entry was read.
    Read,
    /// There is no such entry or path.
    NotFound,
    /// The request is not one that can be answered.
    Refused,
    /// The store failed; nothing was stored.
    Unavailable,
    /// The store failed; nobody knows whether it was stored.
    Unknown,
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Outcome::Stored => "stored",
            Outcome::Repeated => "repeated",
            Outcome::Conflicting => "conflicting",
            Outcome::Read => "read",
            Outcome::NotFound => "not-found",
            Outcome::Refused => "refused",
            Outcome::Unavailable => "unavailable",
            Outcome::Unknown => "unknown",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    function: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByFunction {
    function: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByKind {
    kind: &'static str,
}

impl Collector for Stores {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Connections { busy, idle, most } = self.connections();
        let figures = [
            ("busy", "Connections to the store that are in use", busy),
            ("idle", "Connections to the store that wait for work", idle),
            ("limit", "Connections to the store that are allowed", most),
        ];
        for (name, help, value) in figures {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let name = format!("idempotency_store_connections_{name}");
            let metric = encoder.encode_descriptor(&name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// The figures of all functions of a worker.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<ByResult, Counter>,
    durations: Family<ByFunction, Histogram, fn() -> Histogram>,
    store_errors: Family<ByKind, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(LATENCY_BUCKETS)),
            store_errors: Family::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn register(&self, registry: &mut Registry, stores: Stores) {
        registry.register(
            "idempotency_requests",
            "Requests by result",
            self.requests.clone(),
        );
        registry.register(
            "idempotency_request_duration_seconds",
            "Time from a request's headers to its answer",
            self.durations.clone(),
        );
        registry.register(
            "idempotency_store_errors",
            "Requests that failed at the store, by kind",
            self.store_errors.clone(),
        );
        registry.register_collector(Box::new(stores));
    }

    pub(crate) fn answered(&self, function: &str, outcome: Outcome, after: Duration) {
        let function = function.to_owned();
        self.durations
            .get_or_create(&ByFunction {
                function: function.clone(),
            })
            .observe(after.as_secs_f64());
        self.requests
            .get_or_create(&ByResult {
                function,
                result: outcome.as_str(),
            })
            .inc();
    }

    pub(crate) fn store_failed(&self, kind: Kind) {
        let kind = kind.as_str();
        self.store_errors.get_or_create(&ByKind { kind }).inc();
    }
}
