//! The controllers against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../replica/mod.rs"]
mod replica;
#[path = "../webhook/mod.rs"]
mod webhook;

mod application;
mod evicting;
mod leader;
mod repair;
