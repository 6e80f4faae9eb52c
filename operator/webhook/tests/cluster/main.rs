//! The webhook over real TLS, against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod admission;
mod certificate;
mod configuration;
mod gate;
mod requests;
mod rotation;
mod serving;
mod store;
