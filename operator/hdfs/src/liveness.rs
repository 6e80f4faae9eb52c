//! Which DataNodes are alive, as JMX says.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use crate::answer::{Jmx, Node, Nodes};
use crate::data_node::{DataNode, DataNodeId, DataNodeState};
use crate::error::ScanError;
use crate::http::shortened;

/// Most DataNodes of a scan: more than the largest clusters have.
const MOST: usize = 20_000;

/// What a NameNode says of itself and its DataNodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Overview {
    /// `active`, `standby`, `observer`, if it says.
    pub(crate) state: Option<String>,
    /// What it says of its safe mode, if that is on.
    pub(crate) safe_mode: Option<String>,
    /// All DataNodes, if it says.
    pub(crate) data_nodes: Option<BTreeMap<DataNodeId, DataNode>>,
}

impl Overview {
    /// From the answer of `/jmx`. Beans that are not there, as with HttpFS, leave gaps.
    pub(crate) fn read(body: &[u8], silent_after: Duration) -> Result<Overview, String> {
        let jmx: Jmx = serde_json::from_slice(body).map_err(|error| error.to_string())?;
        let mut overview = Overview::default();
        for bean in jmx.beans {
            if bean.name.ends_with("name=NameNodeStatus") {
                overview.state = bean.state.map(|state| state.to_lowercase());
            } else if bean.name.ends_with("name=NameNodeInfo") {
                let on = bean.safemode.filter(|safe_mode| !safe_mode.is_empty());
                overview.safe_mode = on.map(|safe_mode| shortened(&safe_mode));
                if let Some(live) = bean.live_nodes {
                    let live = nodes(&live)?;
                    let dead = nodes(bean.dead_nodes.as_deref().unwrap_or("{}"))?;
                    overview.data_nodes = Some(data_nodes(live, dead, silent_after));
                }
            }
        }
        Ok(overview)
    }
}

fn nodes(json: &str) -> Result<Nodes, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

fn data_nodes(live: Nodes, dead: Nodes, silent_after: Duration) -> BTreeMap<DataNodeId, DataNode> {
    let dead = dead.into_iter().map(|(name, node)| (name, node, true));
    // One that came back may be in both for a moment: the living come last, and win.
    let live = live.into_iter().map(|(name, node)| (name, node, false));
    let all = dead.chain(live).filter_map(|(name, node, dead)| {
        let state = match dead {
            true => DataNodeState::Dead,
            false => state(&node, silent_after),
        };
        data_node(&name, node, state)
    });
    all.map(|data_node| (data_node.id(), data_node)).collect()
}

fn state(node: &Node, silent_after: Duration) -> DataNodeState {
    let in_service = node.admin_state.as_deref().is_none_or(in_service);
    match Duration::from_secs(node.last_contact) > silent_after {
        _ if !in_service => DataNodeState::Leaving,
        true => DataNodeState::Silent,
        false => DataNodeState::InService,
    }
}

/// In the words of JMX and of block locations.
pub(crate) fn in_service(admin_state: &str) -> bool {
    matches!(admin_state, "In Service" | "NORMAL")
}

fn data_node(name: &str, node: Node, state: DataNodeState) -> Option<DataNode> {
    let address = node.xferaddr.as_deref().and_then(split);
    let (host, port) = match split(name) {
        Some((host, port)) => (host, port),
        // Old servers leave the port out.
        None => (name, address?.1),
    };
    Some(DataNode {
        host: host.to_owned(),
        ip: address.and_then(|(ip, _)| ip.parse().ok()),
        port,
        rack: node.location,
        state,
    })
}

/// `HOST:PORT`, where the host may be an IPv6 address with or without brackets.
pub(crate) fn split(name: &str) -> Option<(&str, u16)> {
    let (host, port) = name.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Some((host, port.parse().ok()?))
}

/// The DataNodes of one scan.
#[derive(Debug)]
pub(crate) struct DataNodes {
    /// Those that JMX told of, if it did.
    told: Option<BTreeMap<DataNodeId, DataNode>>,
    /// Others, which blocks are said to be on.
    seen: BTreeMap<DataNodeId, DataNode>,
    /// Those of `told`. Behind address translation several may seem to be at one address; then it
    /// says nothing.
    by_address: HashMap<(IpAddr, u16), Option<DataNodeId>>,
}

impl DataNodes {
    /// With what JMX said, if it did.
    pub(crate) fn new(told: Option<BTreeMap<DataNodeId, DataNode>>) -> DataNodes {
        let mut by_address = HashMap::new();
        for (id, node) in told.iter().flatten() {
            if let Some(ip) = node.ip {
                let at = by_address.entry((ip, node.port));
                let shared = at.or_insert_with(|| Some(id.clone()));
                if shared.as_ref() != Some(id) {
                    *shared = None;
                }
            }
        }
        DataNodes {
            told,
            seen: BTreeMap::new(),
            by_address,
        }
    }

    /// Whether there are no more than a scan may remember. Of those that only blocks tell of, one
    /// too many is kept, and no further one.
    pub(crate) fn bounded(&self) -> Result<(), ScanError> {
        let told = self.told.as_ref().map_or(0, BTreeMap::len);
        match told.max(self.seen.len()) > MOST {
            true => Err(ScanError::TooVaried {
                what: "DataNodes",
                allowed: MOST,
            }),
            false => Ok(()),
        }
    }

    /// The DataNodes whose copies count, if it is known who is alive.
    pub(crate) fn counting(&self) -> Option<BTreeSet<DataNodeId>> {
        let counting = self.told.as_ref()?.iter();
        let counting = counting.filter(|(_, node)| node.state.counts());
        Some(counting.map(|(id, _)| id.clone()).collect())
    }

    /// The holder of a copy, if the copy counts. One that JMX does not tell of, though it tells of
    /// others, is not alive.
    pub(crate) fn holder(
        &mut self,
        host: &str,
        ip: &str,
        port: u16,
        rack: Option<&str>,
    ) -> Option<DataNodeId> {
        let id = DataNodeId::new(host, port);
        let ip: Option<IpAddr> = ip.parse().ok();
        if let Some(told) = &self.told {
            let by_address = || self.by_address.get(&(ip?, port))?.clone();
            let known = match told.contains_key(&id) {
                true => Some(id),
                false => by_address(),
            };
            return known.filter(|id| told.get(id).is_some_and(|node| node.state.counts()));
        }
        if self.seen.len() > MOST && !self.seen.contains_key(&id) {
            return None;
        }
        self.seen.entry(id.clone()).or_insert_with(|| DataNode {
            host: host.to_owned(),
            ip,
            port,
            rack: rack.map(str::to_owned),
            state: DataNodeState::Unknown,
        });
        Some(id)
    }

    /// Those that JMX told of, and those that only blocks tell of.
    pub(crate) fn into_parts(
        self,
    ) -> (
        BTreeMap<DataNodeId, DataNode>,
        BTreeMap<DataNodeId, DataNode>,
    ) {
        (self.told.unwrap_or_default(), self.seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data_nodes(count: usize) -> BTreeMap<DataNodeId, DataNode> {
        let data_node = |number: usize| {
            let data_node = DataNode {
                host: format!("node-{number}"),
                ip: None,
                port: 9866,
                rack: None,
                state: DataNodeState::InService,
            };
            (data_node.id(), data_node)
        };
        (0..count).map(data_node).collect()
    }

    #[test]
    fn more_data_nodes_than_any_cluster_has_are_refused() {
        assert_eq!(DataNodes::new(Some(data_nodes(MOST))).bounded(), Ok(()));
        let refused = DataNodes::new(Some(data_nodes(MOST + 1))).bounded();
        assert_eq!(
            refused.unwrap_err().to_string(),
            "the NameNode tells of more than 20000 DataNodes, which is the limit of a Dataset; several Datasets with fewer paths each may do"
        );
    }

    #[test]
    fn data_nodes_that_only_blocks_tell_of_are_not_remembered_without_end() {
        let mut data_nodes = DataNodes::new(None);
        let mut holder = |number: usize| {
            let host = format!("node-{number}");
            let holder = data_nodes.holder(&host, "", 9866, None);
            (holder.is_some(), data_nodes.bounded().is_ok())
        };
        for number in 0..MOST {
            assert_eq!(holder(number), (true, true));
        }
        assert_eq!(holder(MOST), (true, false));
        assert_eq!(holder(MOST + 1), (false, false));
        assert_eq!(holder(7), (true, false));
    }
}
