//! A real Kubernetes on one machine, built from package registries: one control plane, four nodes
//! in two zones, an image registry and PostgreSQL, in namespaces of their own; on demand also HDFS
//! with a DataNode on each node.

mod artifacts;
mod cgroup;
mod command;
mod component;
mod control_plane;
mod daemon;
mod dns;
mod error;
mod hdfs;
mod image;
mod inventory;
mod kubeconfig;
mod lab;
mod layout;
mod local_volume;
mod lock;
mod mounts;
mod namespace;
mod network;
mod node;
mod node_files;
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
pub use component::Component;
pub use error::Error;
pub use hdfs::{
    DataNodeStatus, FileSpec, FsckBlock, Hdfs, HdfsStatus, Life, NameNode, NameNodeStatus, Shape,
};
pub use inventory::Inventory;
pub use lab::{Lab, install_packages, tool};
pub use local_volume::LocalVolume;
pub use node::Node;
pub use postgres::Postgres;
pub use progress::Progress;
pub use status::{ComponentStatus, NodeStatus, Status};
