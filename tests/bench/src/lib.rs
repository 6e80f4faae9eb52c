//! A sidecar and a load that count every request of a swap, by ids.
//!
//! Each request has an id of its own. The sidecar's function writes the id of every request that it
//! acts upon into a ledger that both slots share, and the load tells which ids were answered; what
//! was lost or done twice follows from the two, see [`ledger::Verdict`].

pub mod control;
mod counter;
pub mod function;
pub mod ledger;
mod messages;
pub mod record;
pub mod successor;
pub mod traffic;
