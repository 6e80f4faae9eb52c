//! What of HDFS runs, as a table.

use std::fmt;

use super::{DATA_NODE, Hdfs, Life, jmx};
use crate::daemon;
use crate::layout::Layout;
use crate::node;

/// The state of HDFS at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HdfsStatus {
    /// Every NameNode.
    pub name_nodes: Vec<NameNodeStatus>,
    /// Every DataNode.
    pub data_nodes: Vec<DataNodeStatus>,
}

/// A NameNode and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameNodeStatus {
    /// Its name.
    pub name: &'static str,
    /// The number of its process, if it runs.
    pub pid: Option<u32>,
    /// Where it answers.
    pub url: String,
    /// `active` or `standby`, or why it says neither.
    pub state: String,
    /// Why it is in safe mode, if it is.
    pub safe_mode: Option<String>,
}

/// A DataNode and what the active NameNode says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataNodeStatus {
    /// The name of its node, which is its own.
    pub node: String,
    /// The number of its process, if it runs.
    pub pid: Option<u32>,
    /// Whether the NameNode takes it for live.
    pub life: Life,
    /// Its administrative state: `In Service`, `Decommission In Progress`, `Decommissioned`.
    pub admin_state: String,
}

impl HdfsStatus {
    pub(super) fn read(layout: &Layout, hdfs: &Hdfs) -> Self {
        let pid = |name: &str| daemon::running(layout, name).map(|process| process.pid);
        let name_nodes = hdfs.name_nodes().iter().map(|&name_node| NameNodeStatus {
            name: name_node.name(),
            pid: pid(name_node.name()),
            url: name_node.url(),
            state: jmx::name_node_state(name_node).unwrap_or_else(|reason| reason),
            safe_mode: jmx::view(name_node).ok().and_then(|view| view.safe_mode),
        });
        let name_nodes = name_nodes.collect();
        let view = hdfs.view().ok();
        let data_nodes = node::all()
            .map(|node| {
                let said = view
                    .as_ref()
                    .and_then(|view| view.data_nodes.get(&node.name));
                let (life, admin_state) = said.cloned().unwrap_or((Life::Unknown, String::new()));
                DataNodeStatus {
                    pid: pid(&node.daemon(DATA_NODE)),
                    node: node.name,
                    life,
                    admin_state,
                }
            })
            .collect();
        Self {
            name_nodes,
            data_nodes,
        }
    }

    /// Whether every process runs, one NameNode is active and out of safe mode, and every DataNode
    /// is live and in service.
    pub fn is_whole(&self) -> bool {
        let active = |it: &NameNodeStatus| it.state == "active" && it.safe_mode.is_none();
        self.name_nodes.iter().all(|it| it.pid.is_some())
            && self.name_nodes.iter().any(active)
            && self.data_nodes.iter().all(|it| {
                it.pid.is_some() && it.life == Life::Live && it.admin_state == "In Service"
            })
    }
}

impl fmt::Display for HdfsStatus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = |pid: Option<u32>| {
            pid.map_or_else(|| "is dead".to_owned(), |pid| format!("runs       {pid}"))
        };
        for it in &self.name_nodes {
            let safe_mode = it.safe_mode.as_ref().map(|_| ", in safe mode");
            writeln!(
                formatter,
                "{:<24} {:<20} {} {}{}",
                it.name,
                process(it.pid),
                it.url,
                it.state,
                safe_mode.unwrap_or_default()
            )?;
        }
        for it in &self.data_nodes {
            writeln!(
                formatter,
                "{:<24} {:<20} {:?}, {}",
                format!("{}/{DATA_NODE}", it.node),
                process(it.pid),
                it.life,
                it.admin_state
            )?;
        }
        Ok(())
    }
}
