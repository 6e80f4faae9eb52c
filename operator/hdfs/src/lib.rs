//! Where the blocks of HDFS files are: a careful client of WebHDFS.
//!
//! [`Scanner`] asks the NameNodes of one HDFS, and keeps what they said. [`identity`] maps the DataNodes that it found to
//! nodes of Kubernetes. Nothing here talks to the API server.

mod answer;
mod blocks;
mod cache;
mod connector;
mod data_node;
mod error;
mod http;
pub mod identity;
mod liveness;
mod name_nodes;
mod pace;
mod path;
mod policy;
mod scan;
mod session;
mod source;

pub use data_node::{DataNode, DataNodeId, DataNodeState, Holders};
pub use error::{PathError, ScanError, ServerError, SourceError};
pub use policy::{AddressPolicy, Network, NotANetwork, Refused};
pub use scan::{Effort, PathScan, Scan, Scanner};
pub use source::{Settings, Source};
