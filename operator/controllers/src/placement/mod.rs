//! The placement controller: it lets pods that wait at the gate go to the nodes that hold their
//! data, and has pods that do not get there created anew.
//!
//! One worker looks at one application after another, so that no two decisions count on the same
//! room. What it decided is in the pods; what it only knows for now is its [`Standing`], from which
//! the application controller makes the status.

mod apply;
mod assumed;
mod metrics;
mod placer;
mod read;
mod standing;
mod story;
mod triggers;
mod worker;
mod workload;

pub(crate) use metrics::PlacementMetrics;
pub(crate) use read::{ApplicationKey, FoundData, data, node_of, tied};
pub(crate) use standing::{Standing, Standings};
pub(crate) use triggers::changed_data;
pub(crate) use worker::run;
