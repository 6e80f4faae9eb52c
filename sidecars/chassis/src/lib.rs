//! Process life of a sidecar: supervisor, slots, handover, configuration, admin port.

mod connection;
mod function;
mod problem;

pub use function::{
    BoxError, Builder, Function, Functions, InvalidDocument, NotWarm, RequestBody, ResponseBody,
    Secrets,
};
pub use problem::Problem;
