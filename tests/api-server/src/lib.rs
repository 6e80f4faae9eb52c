//! As much of an API server as the operator talks to, in memory, for tests: get, list, watch,
//! create, replace, patch, apply and delete of JSON objects by path, with selectors, versions,
//! generations, a status of its own where the kind has one, managers of applied fields, garbage
//! collection, what of pods may change, scheduling gates, evictions and dry runs of pods, a webhook,
//! a scheduler, and writes that fail on demand.
//!
//! What it does not do: validation, defaults, field managers of anything but applies. Its answers are
//! compared with a real server's by `make test-fake`.

mod address;
mod evictions;
mod gates;
mod immutable;
mod journal;
mod managers;
mod patch;
mod scheduler;
mod server;
mod state;

pub use scheduler::schedule;
pub use server::ApiServer;
