//! The idempotency function on PostgreSQL: a JSON document is stored once per key.

mod body;
mod builder;
mod entries;
mod failures;
mod json;
mod key;
mod metrics;
mod problems;
mod store;

pub use builder::IdempotencyBuilder;
