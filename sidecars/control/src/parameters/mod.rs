//! Parameters of the functions and of their stores: their API form, how layers are merged, and
//! what they mean once validated.

mod custom;
mod idempotency;
mod layers;
mod postgresql;

pub use custom::CustomParameters;
pub use idempotency::{Idempotency, IdempotencyParameters, KeyField};
pub use layers::{InvalidParameters, ReadSecret, SecretUnreadable};
pub use postgresql::{Credentials, PostgresqlStore, SslMode};
