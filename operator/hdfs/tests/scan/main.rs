//! What a scan finds out, keeps, and survives, against servers that answer as NameNodes do.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod locations;
mod memory;
mod name_node;
mod namespace;
mod paths;
mod security;
mod servers;
mod tls;
