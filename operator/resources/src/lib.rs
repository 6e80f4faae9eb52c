//! Amounts of CPU, memory and other resources, as Kubernetes counts them.

pub mod quantity;
