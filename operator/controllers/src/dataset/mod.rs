//! The Dataset controller: it finds out which nodes hold the bytes, and says so.

mod fingerprint;
mod locations;

pub(crate) use locations::{DatasetKey, Known, Locations};
