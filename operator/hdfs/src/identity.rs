//! Which node of Kubernetes a DataNode runs on.

use std::collections::{BTreeMap, BTreeSet, HashMap};
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

/// By names of nodes, or values of a label: the whole name before the short one, whatever the case.
/// A short name is compared with a full one only, in both directions; two full names that begin
/// alike are different hosts.
pub fn by_host_name<'a>(
    data_nodes: impl IntoIterator<Item = &'a DataNode>,
    nodes: &[NamedNode],
) -> Identified {
    let names = || {
        let all = nodes.iter();
        all.flat_map(|named| {
            named
                .names
                .iter()
                .map(|name| (name.as_str(), named.node.as_str()))
        })
    };
    let index = Index::new(names());
    let mut identified = Identified::default();
    for data_node in data_nodes {
        identified.add(data_node, index.find(&data_node.host));
    }
    identified
}

/// By pods: their names, as host names or as the first part of them, then their addresses. Where
/// several pods match, all of them must be on one node.
pub fn by_pod<'a>(
    data_nodes: impl IntoIterator<Item = &'a DataNode>,
    pods: &[DataNodePod],
) -> Identified {
    let names = || {
        pods.iter().flat_map(|pod| {
            let names = pod.hostname.iter().chain([&pod.name]);
            names.map(|name| (name.as_str(), pod.node.as_str()))
        })
    };
    let index = Index::new(names());
    let mut addresses: HashMap<IpAddr, BTreeSet<&str>> = HashMap::new();
    for pod in pods {
        for address in &pod.addresses {
            addresses.entry(*address).or_default().insert(&pod.node);
        }
    }
    let mut identified = Identified::default();
    for data_node in data_nodes {
        let named = index.find(&data_node.host);
        let address = data_node.ip.or_else(|| data_node.host.parse().ok());
        let addressed = address.and_then(|address| addresses.get(&address));
        let addressed = addressed.cloned().unwrap_or_default();
        let both: BTreeSet<&str> = named.intersection(&addressed).copied().collect();
        let nodes = match (named.len(), both.is_empty()) {
            // Pods of several namespaces may have one name; the address tells them apart.
            (2.., false) => both,
            (0, _) => addressed,
            _ => named,
        };
        identified.add(data_node, nodes);
    }
    identified
}

/// Nodes by their names in lower case.
struct Index<'a> {
    whole: HashMap<String, BTreeSet<&'a str>>,
    /// Those with a full name, by the short one.
    short: HashMap<String, BTreeSet<&'a str>>,
}

impl<'a> Index<'a> {
    fn new(names: impl Iterator<Item = (&'a str, &'a str)>) -> Index<'a> {
        let mut index = Index {
            whole: HashMap::new(),
            short: HashMap::new(),
        };
        for (name, node) in names {
            let name = plain(name);
            if let Some(short) = short(&name) {
                index
                    .short
                    .entry(short.to_owned())
                    .or_default()
                    .insert(node);
            }
            index.whole.entry(name).or_default().insert(node);
        }
        index
    }

    fn find(&self, host: &str) -> BTreeSet<&'a str> {
        let host = plain(host);
        let whole = self.whole.get(&host);
        let otherwise = || match short(&host) {
            Some(short) => self.whole.get(short),
            None => self.short.get(&host),
        };
        whole.or_else(otherwise).cloned().unwrap_or_default()
    }
}

fn plain(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// The first part of a full name. An address has none.
fn short(name: &str) -> Option<&str> {
    let (short, _) = name.split_once('.')?;
    name.parse::<IpAddr>().is_err().then_some(short)
}

// === impl Identified ===

impl Identified {
    fn add(&mut self, data_node: &DataNode, nodes: BTreeSet<&str>) {
        let id = data_node.id();
        match nodes.len() {
            0 => {
                self.unmapped.insert(id);
            }
            1 => {
                let node = nodes.into_iter().next().map(str::to_owned);
                self.nodes.extend(node.map(|node| (id, node)));
            }
            _ => self.ambiguous.push(Ambiguous {
                data_node: id,
                nodes: nodes.into_iter().map(str::to_owned).collect(),
            }),
        }
    }

    /// Bytes of a path by the nodes that hold a copy: what [`PathScan::groups`] says of DataNodes. A DataNode without a
    /// node holds nothing.
    pub fn by_node(&self, path: &PathScan) -> BTreeMap<BTreeSet<String>, u64> {
        let mut groups = BTreeMap::new();
        for (holders, bytes) in &path.groups {
            let nodes = holders.iter().filter_map(|holder| self.nodes.get(holder));
            let sum: &mut u64 = groups.entry(nodes.cloned().collect()).or_default();
            *sum = sum.saturating_add(*bytes);
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

#[cfg(test)]
mod tests;
