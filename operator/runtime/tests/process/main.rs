//! The parts of a process, each against the real thing or an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod admin;
mod api_server;
mod client;
mod election;
mod safety;
mod shutdown;
mod tasks;
