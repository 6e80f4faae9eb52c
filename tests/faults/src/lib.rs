//! Faults between the operator and an API server, for tests: calls that fail before or after they
//! are carried out, stale lists, watches that end, and a process that dies after its n-th write.
//!
//! The faults are a layer around any client, before the API server in memory as well as before a
//! real one. What tests ask afterwards is here too: which calls were made, and whether the end is
//! the same as without faults.

mod answer;
mod call;
mod difference;
mod end;
mod layer;
mod plan;
mod recording;
mod replay;
mod request;
mod story;

pub use call::{Call, Verb};
pub use end::{EndState, broken_conditions};
pub use layer::Faults;
pub use plan::{Fault, Plan};
pub use recording::Recording;
pub use replay::replay;
pub use request::{Answer, JSON, ask};
pub use story::{Operator, Story, crash_after_every_write, weather_storms};
