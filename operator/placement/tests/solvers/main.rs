//! The solvers against answers that are found by trying everything.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod assign;
mod exchanges;
mod spread;
