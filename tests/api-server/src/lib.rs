//! As much of an API server as the operator talks to, in memory, for tests: get, list, watch,
//! create, replace, patch, apply and delete of JSON objects by path, with selectors, pages,
//! bookmarks, versions that are forgotten, generations, a status of its own where the kind has one,
//! managers of applied fields, garbage collection, what of pods may change, scheduling gates,
//! evictions and dry runs of pods, a webhook, a scheduler, and writes that fail on demand.
//!
//! What it does not do: defaults, validation of anything but pods and ReplicaSets, field managers of
//! anything but applies. Its answers are compared with a real server's by `make test-fake`.

mod address;
mod evictions;
mod failure;
mod gates;
mod history;
mod immutable;
mod journal;
mod kinds;
mod list;
mod managers;
mod patch;
mod scheduler;
mod selection;
mod server;
mod state;
mod validation;
mod watch;

pub use scheduler::schedule;
pub use server::ApiServer;
