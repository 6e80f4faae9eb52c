//! Which node each pod should be on: pure decisions from where the data is.
//!
//! Nothing here talks to the API server, asks for the time, or draws lots.

mod data;

pub use data::{Located, Part};
