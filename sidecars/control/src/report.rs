use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Pair, Slot};

/// Most applications that a list of a report names: the first by name.
pub const MOST_TENANTS_TOLD: usize = 100;
/// Longest reason beside one, in characters.
const LONGEST_REASON: usize = 200;

/// What a report says of applications, each with a reason, so that it is never larger than its
/// readers allow.
pub fn told_of_tenants(reasons: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let told = reasons.iter().take(MOST_TENANTS_TOLD);
    let told = told.map(|(application, reason)| {
        let reason = reason.chars().take(LONGEST_REASON).collect();
        (application.clone(), reason)
    });
    told.collect()
}

/// What a slot says of itself on `GET /status` of its admin port. A hint for the operator, not proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the sidecar.
    pub sidecar: String,
    /// The slot that answers.
    pub slot: Slot,
    /// Version of the sidecar's program.
    pub version: String,
    /// What the slot does now.
    pub role: Role,
    /// The pair recorded in the shared directory.
    pub pair: Pair,
    /// Term of the newest order that the slot has read; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_term: Option<u64>,
    /// Why the newest order was refused, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_refused: Option<String>,
    /// True when the slot has its configuration and its store, and could serve at once.
    pub warm: bool,
    /// Why it is not warm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_warm: Option<String>,
    /// Applications of a shared sidecar that could not be served at once, and why. A slot with
    /// others that could is warm. Bounded by [`told_of_tenants`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub cold_tenants: BTreeMap<String, String>,
    /// The configuration in use.
    pub configuration: ConfigurationReport,
    /// How often the slot's worker was restarted in this container.
    pub worker_restarts: u64,
    /// True when a former active slot has no request left.
    pub drained: bool,
    /// Figures of the traffic through this worker.
    pub traffic: TrafficReport,
    /// Figures of this worker's handovers.
    pub handover: HandoverReport,
}

/// What a slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Role {
    /// Not yet decided.
    Starting,
    /// Warm or warming, with duplicates of the listeners.
    Standby,
    /// Serving.
    Active,
    /// Passing its connections to the other slot, or finishing its last requests.
    Draining,
    /// Nothing: its worker cannot run. `not_warm` says why; it is tried again and again.
    Failed,
}

/// The configuration of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigurationReport {
    /// Hash of the document in use; absent before the first good one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// The newest document, if it was refused: the one in `hash` goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refusal>,
    /// Applications of a shared sidecar whose part of the document in `hash` was refused, and why:
    /// what was found, where, and what is allowed. Their former parts go on. Bounded by
    /// [`told_of_tenants`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub refused_tenants: BTreeMap<String, String>,
}

/// A document that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refusal {
    /// Hash of the refused document.
    pub hash: String,
    /// What was found, where, and what is allowed.
    pub message: String,
}

/// Figures of the traffic through one worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficReport {
    /// Open connections.
    pub connections: u64,
    /// Requests without an answer yet.
    pub in_flight: u64,
    /// Requests answered.
    pub answered: u64,
    /// Requests answered with a 5xx status.
    pub server_errors: u64,
}

/// Figures of one worker's handovers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HandoverReport {
    /// Handovers completed, in either direction.
    pub completed: u64,
    /// Handovers aborted since the last completed one.
    pub aborted: u64,
    /// Why the last one was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Connections moved in the last completed one.
    pub connections: u64,
    /// From hello to commit in the last completed one, in microseconds.
    pub commit_micros: u64,
}
