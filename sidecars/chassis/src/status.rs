//! What a slot says of itself.

use std::sync::Arc;
use std::time::Duration;

use outrigger_control::{
    ConfigurationReport, HandoverReport, Pair, Report, Role, TrafficReport, told_of_tenants,
};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::ownership::StateDirectory;
use crate::roles;
use crate::settings::Settings;
use crate::traffic::Traffic;
use crate::warmth::Cold;

/// The parts of a slot's report, gathered from those who know them.
#[derive(Debug)]
pub(crate) struct Status {
    settings: Settings,
    state: StateDirectory,
    traffic: Arc<Traffic>,
    warm: watch::Receiver<Result<(), String>>,
    cold: watch::Receiver<Cold>,
    worker_restarts: u64,
    parts: Mutex<Parts>,
    metrics: Metrics,
}

#[derive(Debug)]
struct Parts {
    role: Role,
    /// What keeps the slot from having a role, if anything does.
    trouble: Option<String>,
    order_term: Option<u64>,
    order_refused: Option<String>,
    configuration: ConfigurationReport,
    handover: HandoverReport,
}

#[derive(Debug, Default)]
struct Metrics {
    active: Gauge,
    warm: Gauge,
    connections: Gauge,
    takeovers: Counter,
    handovers: Family<HandoverLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandoverLabels {
    result: &'static str,
}

impl Status {
    pub(crate) fn new(
        settings: &Settings,
        state: StateDirectory,
        traffic: Arc<Traffic>,
        (warm, cold): (watch::Receiver<Result<(), String>>, watch::Receiver<Cold>),
        worker_restarts: u64,
        registry: &mut Registry,
    ) -> Status {
        let metrics = Metrics::default();
        metrics.register(settings, worker_restarts, registry);
        Status {
            settings: settings.clone(),
            state,
            traffic,
            warm,
            cold,
            worker_restarts,
            parts: Mutex::new(Parts {
                role: Role::Starting,
                trouble: None,
                order_term: None,
                order_refused: None,
                configuration: ConfigurationReport::default(),
                handover: HandoverReport::default(),
            }),
            metrics,
        }
    }

    pub(crate) fn role(&self, role: Role) {
        let mut parts = self.parts.lock();
        if parts.role != role {
            tracing::info!(role = ?role, "Role changed");
        }
        parts.role = role;
        parts.trouble = None;
    }

    pub(crate) fn trouble(&self, reason: String) {
        let mut parts = self.parts.lock();
        if parts.trouble.as_ref() != Some(&reason) {
            tracing::error!(reason, "Slot cannot do what it should");
        }
        parts.trouble = Some(reason);
    }

    pub(crate) fn order(&self, term: Option<u64>, refused: Option<String>) {
        let mut parts = self.parts.lock();
        parts.order_term = term.or(parts.order_term);
        if let Some(reason) = refused.as_ref()
            && parts.order_refused != refused
        {
            tracing::error!(reason, "Order was refused");
        }
        parts.order_refused = refused;
    }

    pub(crate) fn configuration(&self, configuration: ConfigurationReport) {
        self.parts.lock().configuration = configuration;
    }

    pub(crate) fn took_over(&self) {
        self.metrics.takeovers.inc();
    }

    pub(crate) fn handed_over(&self, connections: usize, commit: Duration) {
        let commit_micros = u64::try_from(commit.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(connections, commit_micros, "Handover was completed");
        self.metrics.handover("completed");
        let handover = &mut self.parts.lock().handover;
        handover.completed += 1;
        handover.aborted = 0;
        handover.last_error = None;
        handover.connections = connections as u64;
        handover.commit_micros = commit_micros;
    }

    pub(crate) fn not_handed_over(&self, reason: String) {
        tracing::warn!(reason, "Handover was aborted");
        self.metrics.handover("aborted");
        let handover = &mut self.parts.lock().handover;
        handover.aborted += 1;
        handover.last_error = Some(reason);
    }

    pub(crate) fn report(&self) -> Report {
        let connections = self.traffic.connections();
        // A record that cannot be read is as good as none here; its readers that act say more.
        let pair = roles::pair(self.state.record().ok().flatten());
        let parts = self.parts.lock();
        let role = match parts.role {
            // A former active slot whose last requests are not finished.
            Role::Standby if connections > 0 => Role::Draining,
            role => role,
        };
        let not_warm = parts
            .trouble
            .clone()
            .or_else(|| self.warm.borrow().clone().err());
        Report {
            sidecar: self.settings.sidecar.clone(),
            slot: self.settings.slot,
            version: self.settings.version.clone(),
            role,
            pair,
            order_term: parts.order_term,
            order_refused: parts.order_refused.clone(),
            warm: not_warm.is_none(),
            not_warm,
            cold_tenants: told_of_tenants(&self.cold.borrow()),
            configuration: parts.configuration.clone(),
            worker_restarts: self.worker_restarts,
            drained: role != Role::Active && connections == 0,
            traffic: self.traffic.report(),
            handover: parts.handover.clone(),
        }
    }

    /// Brings those metrics up to date that are read rather than counted.
    pub(crate) fn refresh_metrics(&self) {
        let report = self.report();
        let metrics = &self.metrics;
        metrics.active.set(i64::from(report.role == Role::Active));
        metrics.warm.set(i64::from(report.warm));
        metrics
            .connections
            .set(i64::try_from(report.traffic.connections).unwrap_or(i64::MAX));
    }
}

/// The report of a slot whose worker cannot run.
pub(crate) fn failed(settings: &Settings, worker_restarts: u64, reason: &str) -> Report {
    Report {
        sidecar: settings.sidecar.clone(),
        slot: settings.slot,
        version: settings.version.clone(),
        role: Role::Failed,
        pair: Pair::default(),
        order_term: None,
        order_refused: None,
        warm: false,
        not_warm: Some(format!("its worker cannot run: {reason}")),
        cold_tenants: Cold::new(),
        configuration: ConfigurationReport::default(),
        worker_restarts,
        drained: true,
        traffic: TrafficReport::default(),
        handover: HandoverReport::default(),
    }
}

impl Metrics {
    fn handover(&self, result: &'static str) {
        self.handovers
            .get_or_create(&HandoverLabels { result })
            .inc();
    }

    fn register(&self, settings: &Settings, worker_restarts: u64, registry: &mut Registry) {
        let build = Info::new([
            ("sidecar", settings.sidecar.clone()),
            ("slot", settings.slot.to_string()),
            ("version", settings.version.clone()),
        ]);
        let restarts: Counter = Counter::default();
        restarts.inc_by(worker_restarts);
        registry.register("build", "The program and its place", build);
        registry.register(
            "worker_restarts",
            "Restarts of the worker in this container",
            restarts,
        );
        registry.register("active", "1 if the slot is active", self.active.clone());
        registry.register("warm", "1 if the slot is warm", self.warm.clone());
        registry.register(
            "connections",
            "Open connections to functions",
            self.connections.clone(),
        );
        registry.register(
            "takeovers",
            "Takeovers without the consent of the former owner",
            self.takeovers.clone(),
        );
        registry.register(
            "handovers",
            "Handovers in either direction, by result",
            self.handovers.clone(),
        );
        // Both are shown from the beginning, at 0.
        for result in ["completed", "aborted"] {
            drop(self.handovers.get_or_create(&HandoverLabels { result }));
        }
    }
}
