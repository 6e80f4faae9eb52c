//! What of the lab runs, as a table.

use std::fmt;

use crate::component;
use crate::control_plane;
use crate::daemon;
use crate::error::Result;
use crate::layout::Layout;
use crate::node;

/// The state of the lab at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Every component.
    pub components: Vec<ComponentStatus>,
    /// Every node.
    pub nodes: Vec<NodeStatus>,
}

/// A component and its process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ComponentStatus {
    /// Its name.
    pub name: String,
    /// The number of its process, if it runs.
    pub pid: Option<u32>,
}

/// A node as the API server sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its zone.
    pub zone: &'static str,
    /// Whether its condition Ready is True.
    pub ready: bool,
    /// What the condition says, or why it could not be read.
    pub message: String,
}

impl Status {
    pub(crate) fn read(layout: &Layout) -> Result<Self> {
        let pid = |name: &str| daemon::running(layout, name).map(|process| process.pid);
        let components: Vec<_> = component::names(layout)
            .into_iter()
            .map(|name| ComponentStatus {
                pid: pid(&name),
                name,
            })
            .collect();
        let nodes = node::all()
            .map(|node| {
                let (ready, message) = match control_plane::node_readiness(layout, &node.name) {
                    Ok(readiness) => (readiness.ready, readiness.message),
                    Err(error) => (false, error.to_string()),
                };
                NodeStatus {
                    zone: node.zone(),
                    name: node.name,
                    ready,
                    message,
                }
            })
            .collect();
        Ok(Self { components, nodes })
    }

    /// Whether everything runs and every node is Ready.
    pub fn is_whole(&self) -> bool {
        self.components
            .iter()
            .all(|component| component.pid.is_some())
            && self.nodes.iter().all(|node| node.ready)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for component in &self.components {
            match component.pid {
                Some(pid) => writeln!(formatter, "{:<24} runs       {pid}", component.name)?,
                None => writeln!(formatter, "{:<24} is dead", component.name)?,
            }
        }
        for node in &self.nodes {
            let ready = if node.ready { "Ready" } else { "NotReady" };
            writeln!(
                formatter,
                "{:<24} {ready:<10} {}  {}",
                node.name, node.zone, node.message
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dead_component_or_unready_node_is_not_the_whole_lab() {
        let component = |pid| ComponentStatus {
            name: "etcd".into(),
            pid,
        };
        let node = |ready| NodeStatus {
            name: "node-1".into(),
            zone: "z1",
            ready,
            message: "says why".into(),
        };
        let status = |pid, ready| Status {
            components: vec![component(pid)],
            nodes: vec![node(ready)],
        };
        assert!(status(Some(1), true).is_whole());
        assert!(!status(None, true).is_whole());
        assert!(!status(Some(1), false).is_whole());
        let text = status(None, false).to_string();
        assert!(
            text.contains("is dead") && text.contains("NotReady") && text.contains("says why"),
            "{text}"
        );
    }
}
