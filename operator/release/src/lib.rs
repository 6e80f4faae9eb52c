//! Takes the placement gates off pods: of a pod that is stuck, and of all pods before the operator
//! goes, since nobody would take them off afterwards.
//!
//! Everything may be ended between any two requests and run again: what was done is found done.

mod connections;
mod error;
mod gate;
mod lease;
mod patience;
mod release;
mod step;
mod webhook;

pub use connections::Connections;
pub use error::ReleaseError;
pub use gate::PodName;
pub use lease::{HOLD, HOLDER, LEASE_NAME};
pub use release::{Place, Released, release_all, release_in};
pub use step::{Step, Tell};
pub use webhook::{CONFIGURATION_NAME, WEBHOOK};
