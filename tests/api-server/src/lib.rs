//! As much of an API server as the operator talks to, in memory, for tests: get, list, watch,
//! create, replace, patch, apply and delete of JSON objects by path, with selectors, versions,
//! generations, a status of its own where the kind has one, the rules of scheduling gates, evictions
//! and dry runs of pods, a webhook, a scheduler, and writes that fail on demand.
//!
//! What it does not do: validation, defaults, garbage collection, field managers that disagree.

mod address;
mod evictions;
mod gates;
mod patch;
mod scheduler;
mod server;
mod state;

pub use scheduler::schedule;
pub use server::ApiServer;
