//! Which replica leads: the holder of a Lease, by optimistic concurrency.
//!
//! Why no two lead at once: a holder counts its term from before the write that confirmed it, and
//! stops well before the Lease's duration is over. Everybody else counts the whole duration from
//! when the last change was seen, which is after that write. Each counts by its own monotonic
//! clock, so that wrong clocks do no harm, and a write succeeds only on the version that it was
//! decided on. The times in the Lease are for people.
//!
//! Out of reach: somebody who deletes the Lease or edits its holder, and a machine that stands still
//! in the middle of a write. Both are why writes of the leader's work carry versions of their own.

mod decide;
mod elector;
mod lease;
mod timing;

pub use elector::{ElectionError, Elector};
pub use lease::LEASE_NAME;
pub use timing::Timing;
