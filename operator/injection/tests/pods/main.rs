//! Whole pods, before and after their injection.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod fixtures;
mod gated;
mod injected;
mod recreated;
mod refused;
mod repeated;
mod resources;
mod tried;
