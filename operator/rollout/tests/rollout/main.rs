//! Rollouts in a small world of pods, kubelets and slots.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod crashes;
mod failures;
mod preflights;
mod sim;
mod swaps;
mod waits;
mod world;
