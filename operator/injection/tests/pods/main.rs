//! Whole pods, before and after their injection.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod credentials;
mod fixtures;
mod foreign;
mod function_pods;
mod gated;
mod injected;
mod recreated;
mod refused;
mod repeated;
mod resources;
mod shared;
mod sockets;
mod tried;
