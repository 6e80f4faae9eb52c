//! Rollouts by the controllers, against an API server in memory with a small kubelet, whose slots
//! answer over HTTP.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../replica/mod.rs"]
mod replica;
#[path = "../webhook/mod.rs"]
mod webhook;

mod configuration;
mod failures;
mod node;
mod recreate;
mod remains;
mod shop;
mod swaps;
