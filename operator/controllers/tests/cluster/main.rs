//! The controllers against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod application;
mod leader;
