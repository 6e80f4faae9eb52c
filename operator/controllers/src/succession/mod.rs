//! What comes after a pod that is evicted: who creates its successor, and what that would be.

mod controllers;
mod trial;

pub(crate) use controllers::{Controller, controller_uid, objection, read};
pub(crate) use trial::{Tried, WITHOUT_SIDECARS, try_successor};
