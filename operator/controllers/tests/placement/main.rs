//! Pods with data against an API server in memory, with a scheduler.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../replica/mod.rs"]
mod replica;

mod arrivals;
mod cluster;
mod explained;
mod obstacles;
