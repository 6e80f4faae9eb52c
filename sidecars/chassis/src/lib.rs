//! Process life of a sidecar: supervisor, slots, handover, configuration, admin port.

mod admin;
mod command;
mod configuration;
mod connection;
mod control_files;
mod function;
mod handover;
mod limits;
mod listeners;
mod log;
mod ownership;
mod packet;
mod preflight;
mod problem;
mod restart;
mod roles;
mod server;
mod settings;
mod status;
mod supervisor;
mod traffic;
mod warmth;
mod worker;

pub use command::main;
pub use function::{
    BoxError, Builder, Function, Functions, InvalidDocument, NotWarm, RequestBody, ResponseBody,
    Secrets,
};
pub use problem::Problem;
