//! Process life of the operator: client, leader election, back-off, metrics, admin server.
//!
//! Small parts that the binary assembles. None of them knows what the operator does.

mod admin;
mod backoff;
mod client;
mod deadline;
mod election;
mod metrics;
mod readiness;
mod shutdown;
mod tasks;
mod telemetry;
mod version;

pub use admin::{listen, serve_admin};
pub use backoff::{Backoff, Backoffs};
pub use client::{ConnectError, api_server_hosts, connect};
pub use deadline::{Deadline, Late};
pub use election::{ElectionError, Elector, LEASE_NAME, Timing};
pub use metrics::{ClientMetrics, ElectionMetrics, encode, registry};
pub use readiness::{Readiness, ReadyHandle};
pub use shutdown::on_signal;
pub use tasks::{EssentialTasks, TaskError};
pub use telemetry::{LogFormat, TelemetryError, init_telemetry};
pub use version::{MINIMUM_VERSION, ServerVersion, VersionError, require_version};
