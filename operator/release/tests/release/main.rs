//! Releases against an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod all;
mod cluster;
mod interrupted;
mod one_namespace;
mod operator;
mod rights;
mod webhook;
