//! Amounts of CPU, memory and other resources, as Kubernetes counts them.

mod amounts;
pub mod quantity;
mod requests;

pub use amounts::Amounts;
pub use requests::requests;
