//! Rollouts in a small world of pods, kubelets and slots.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod bad_input;
mod crashes;
mod drift;
mod failures;
mod fleet;
mod preflights;
mod properties;
mod rollback;
mod sim;
mod strategies;
mod swaps;
mod waits;
mod world;
