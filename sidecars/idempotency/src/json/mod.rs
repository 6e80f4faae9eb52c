//! JSON as this function accepts it: RFC 8259, without duplicate member names, of bounded depth.

mod canonical;
mod document;
mod pointer;

pub(crate) use canonical::{NumberOutOfRange, canonicalize, same_value};
pub(crate) use document::{InvalidDocument, JsonObject, MAX_DEPTH};
pub(crate) use pointer::find;
