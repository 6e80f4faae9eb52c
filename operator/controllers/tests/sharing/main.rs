//! Shared sidecars by the controllers, against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../replica/mod.rs"]
mod replica;

mod pods;
mod scene;
mod waits;
