//! What NameNodes and DataNodes tell of themselves over HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::{HTTP_PORT, NameNode};
use crate::wait;

/// A DataNode as its NameNode sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It sends heartbeats, or did so a moment ago.
    Live,
    /// It has not sent any for 11 s.
    Dead,
    /// The NameNode does not know it, or does not answer.
    Unknown,
}

/// What a NameNode tells of the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    /// Why it is in safe mode, if it is.
    pub(super) safe_mode: Option<String>,
    /// By node name: alive, and the administrative state (`In Service`, `Decommissioned`).
    pub(super) data_nodes: BTreeMap<String, (Life, String)>,
}

fn bean(address: SocketAddr, name: &str) -> Result<Value, String> {
    let text = wait::http_get(address, &format!("/jmx?qry=Hadoop:{name}"))?;
    let mut answer: Value = serde_json::from_str(&text)
        .map_err(|error| format!("http://{address}/jmx answers no JSON: {error}"))?;
    // It answers before it knows all of itself.
    answer
        .pointer_mut("/beans/0")
        .map(Value::take)
        .ok_or_else(|| format!("http://{address}/jmx has no bean {name} yet"))
}

/// An attribute that holds JSON as text.
fn embedded(bean: &Value, attribute: &str) -> Result<Value, String> {
    let text = bean[attribute].as_str().unwrap_or_default();
    serde_json::from_str(text).map_err(|error| format!("{attribute} is {text:?}: {error}"))
}

fn address(name_node: NameNode) -> SocketAddr {
    (name_node.address(), HTTP_PORT).into()
}

/// `active` or `standby`. One that is still starting says neither.
pub(super) fn name_node_state(name_node: NameNode) -> Result<String, String> {
    let bean = bean(address(name_node), "service=NameNode,name=NameNodeStatus")?;
    match bean["State"].as_str() {
        Some(state @ ("active" | "standby")) => Ok(state.to_owned()),
        state => Err(format!("{} is {state:?}", name_node.name())),
    }
}

/// What a NameNode tells of the file system.
pub(super) fn view(name_node: NameNode) -> Result<View, String> {
    parse_view(&bean(
        address(name_node),
        "service=NameNode,name=NameNodeInfo",
    )?)
}

fn parse_view(bean: &Value) -> Result<View, String> {
    let safe_mode = bean["Safemode"].as_str().unwrap_or_default();
    let mut data_nodes = BTreeMap::new();
    for (attribute, life) in [("DeadNodes", Life::Dead), ("LiveNodes", Life::Live)] {
        let nodes = embedded(bean, attribute)?;
        for (name, node) in nodes.as_object().into_iter().flatten() {
            let name = name.split(':').next().unwrap_or_default();
            let state = node["adminState"].as_str().unwrap_or_default();
            data_nodes.insert(name.to_owned(), (life, state.to_owned()));
        }
    }
    Ok(View {
        safe_mode: (!safe_mode.is_empty()).then(|| safe_mode.to_owned()),
        data_nodes,
    })
}

/// Whether a DataNode has told its blocks so many times as there are NameNodes.
pub(super) fn data_node_reported(address: SocketAddr, name_nodes: u64) -> Result<(), String> {
    let bean = bean(address, "service=DataNode,name=DataNodeActivity*")?;
    let reports = bean["BlockReportsNumOps"].as_u64().unwrap_or_default();
    (reports >= name_nodes)
        .then_some(())
        .ok_or_else(|| format!("it has made {reports} block reports of {name_nodes}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dead_and_live_data_nodes_are_told_by_their_nodes_names() {
        let bean = json!({
            "LiveNodes": r#"{"node-1:9866":{"adminState":"Decommissioned"}}"#,
            "DeadNodes": r#"{"node-4:9866":{"adminState":"In Service"}}"#,
            "Safemode": "",
        });
        let view = parse_view(&bean).unwrap();
        let of = |node: &str| view.data_nodes[node].clone();
        assert_eq!(of("node-1"), (Life::Live, "Decommissioned".to_owned()));
        assert_eq!(of("node-4"), (Life::Dead, "In Service".to_owned()));
        assert_eq!(view.safe_mode, None);
        let starting = json!({ "LiveNodes": null, "Safemode": "Safe mode is ON." });
        assert!(parse_view(&starting).unwrap_err().contains("DeadNodes"));
    }
}
