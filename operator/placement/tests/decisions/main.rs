//! What is decided about the pods of an application, in a cluster that is small and honest.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod any_world;
mod batches;
mod reasons;
mod replicas;
mod required;
mod volumes;
mod world;
