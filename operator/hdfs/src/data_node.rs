use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What a DataNode is told apart by: `HOST:PORT`, its host name as it registered it and the port for blocks. Several
/// DataNodes may share an address, or a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataNodeId(Arc<str>);

/// The DataNodes that hold a copy of the same bytes; shared, since few sets occur many times.
pub type Holders = Arc<BTreeSet<DataNodeId>>;

/// A DataNode as the NameNode knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataNode {
    /// The host name that it registered with: full, short, an address, or what somebody configured.
    pub host: String,
    /// The address that the NameNode sees it at, if it could be read.
    pub ip: Option<IpAddr>,
    /// The port for blocks (xfer).
    pub port: u16,
    /// Its rack, such as `/default-rack`, if told.
    pub rack: Option<String>,
    /// Whether its copies count.
    pub state: DataNodeState,
}

/// Whether the copies on a DataNode count for placement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataNodeState {
    /// It is alive and stays: its copies count.
    InService,
    /// It is being emptied or in maintenance. Its copies are about to go, and do not count.
    Leaving,
    /// It has not been heard of for a while, though the NameNode does not hold it for dead yet.
    Silent,
    /// The NameNode holds it for dead, though it may still name it as a holder.
    Dead,
    /// Nobody said. Its copies count.
    Unknown,
}

impl DataNodeId {
    /// The name of the DataNode at a host and a port.
    pub fn new(host: &str, port: u16) -> DataNodeId {
        DataNodeId(format!("{host}:{port}").into())
    }

    /// `HOST:PORT`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DataNodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DataNode {
    /// What it is told apart by.
    pub fn id(&self) -> DataNodeId {
        DataNodeId::new(&self.host, self.port)
    }
}

impl DataNodeState {
    /// Whether its copies count.
    pub fn counts(self) -> bool {
        match self {
            DataNodeState::InService | DataNodeState::Unknown => true,
            DataNodeState::Leaving | DataNodeState::Silent | DataNodeState::Dead => false,
        }
    }
}
