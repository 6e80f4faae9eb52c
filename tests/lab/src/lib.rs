//! A real Kubernetes on one machine, built from package registries: one control plane, four nodes
//! in two zones, an image registry and PostgreSQL, in namespaces of their own.

mod artifacts;
mod cgroup;
mod command;
mod control_plane;
mod daemon;
mod dns;
mod error;
mod image;
pub mod inventory;
mod kubeconfig;
mod lab;
mod layout;
mod lock;
mod mounts;
mod namespace;
mod network;
mod node;
mod packages;
mod pki;
mod postgres;
mod process;
mod progress;
mod registry;
mod requirements;
mod status;
mod sysctl;
mod wait;

pub use command::CommandError;
pub use error::Error;
pub use lab::Lab;
pub use node::Node;
pub use postgres::Postgres;
pub use progress::Progress;
pub use status::{ComponentStatus, Status};
