use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// A registry that knows the operator's version.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register(
        "outrigger_build",
        "The operator that runs",
        Info::new([("version", env!("CARGO_PKG_VERSION"))]),
    );
    registry
}

/// All figures in the OpenMetrics text format.
pub fn encode(registry: &Registry) -> Result<String, std::fmt::Error> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)?;
    Ok(text)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: String,
    status: String,
}

/// Figures of the client. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ClientMetrics {
    requests: Family<RequestLabels, Counter>,
}

impl ClientMetrics {
    /// Registers the figures.
    pub fn register(registry: &mut Registry) -> ClientMetrics {
        let metrics = ClientMetrics::default();
        registry.register(
            "outrigger_api_requests",
            "Requests to the API server by method and status; `none` is no answer in time, or none at all",
            metrics.requests.clone(),
        );
        metrics
    }

    pub(crate) fn count(&self, method: &Method, status: Option<StatusCode>) {
        let status = status.map_or("none".to_owned(), |status| status.as_u16().to_string());
        let labels = RequestLabels {
            method: method.to_string(),
            status,
        };
        self.requests.get_or_create(&labels).inc();
    }
}

/// Figures of the election. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct ElectionMetrics {
    leader: Gauge,
    terms: Counter,
}

impl ElectionMetrics {
    /// Registers the figures.
    pub fn register(registry: &mut Registry) -> ElectionMetrics {
        let metrics = ElectionMetrics::default();
        registry.register(
            "outrigger_leader",
            "1 while this replica is the leader",
            metrics.leader.clone(),
        );
        registry.register(
            "outrigger_leader_terms",
            "How often this replica became the leader",
            metrics.terms.clone(),
        );
        metrics
    }

    pub(crate) fn begin(&self) {
        self.leader.set(1);
        self.terms.inc();
    }

    pub(crate) fn end(&self) {
        self.leader.set(0);
    }
}
