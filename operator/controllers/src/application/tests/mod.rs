//! Decisions about applications, from objects as the API server holds them.

mod census;
mod documents;
mod fixtures;
mod placement;
mod summaries;
