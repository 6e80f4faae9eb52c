//! What the service counts, in the text form of Prometheus.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Outcome {
    /// Stored now.
    Stored,
    /// Stored before.
    Duplicate,
    /// Not an order that can be stored.
    Refused,
    /// No answer of use from the sidecar.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: Outcome,
}

/// Counters of the service.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    orders: Family<ByResult, Counter>,
    /// Connections to the sidecar, opened.
    pub(crate) opened: Counter,
    /// Connections to the sidecar, ended by the sidecar.
    pub(crate) closed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("checkout");
        let (orders, opened, closed) = (Family::default(), Counter::default(), Counter::default());
        registry.register("orders", "Orders by result", orders.clone());
        registry.register(
            "sidecar_connections_opened",
            "Connections to the sidecar that were opened",
            opened.clone(),
        );
        registry.register(
            "sidecar_connections_closed",
            "Connections that the sidecar ended; not those that the pool here had no use for",
            closed.clone(),
        );
        Metrics {
            registry,
            orders,
            opened,
            closed,
        }
    }
}

impl Metrics {
    /// Counts one order.
    pub(crate) fn count(&self, result: Outcome) {
        self.orders.get_or_create(&ByResult { result }).inc();
    }

    /// The counters as text.
    pub(crate) fn encode(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
