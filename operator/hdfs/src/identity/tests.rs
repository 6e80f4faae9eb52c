use std::sync::Arc;

use super::*;
use crate::data_node::DataNodeState;

fn data_node(host: &str, ip: &str, port: u16) -> DataNode {
    DataNode {
        host: host.to_owned(),
        ip: ip.parse().ok(),
        port,
        rack: None,
        state: DataNodeState::InService,
    }
}

fn node(node: &str, names: &[&str]) -> NamedNode {
    NamedNode {
        node: node.to_owned(),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn pod(name: &str, address: &str, node: &str) -> DataNodePod {
    DataNodePod {
        name: name.to_owned(),
        hostname: None,
        addresses: address.parse().into_iter().collect(),
        node: node.to_owned(),
    }
}

/// The node of a host name, if there is one.
fn by_name(host: &str, nodes: &[NamedNode]) -> Option<String> {
    let data_nodes = [data_node(host, "10.0.0.1", 9866)];
    let identified = by_host_name(&data_nodes, nodes);
    identified.nodes.into_values().next()
}

#[test]
fn host_names_match_whatever_their_case() {
    let nodes = [node("Node-1.Example.com", &["Node-1.Example.com"])];
    for host in [
        "node-1.example.com",
        "NODE-1.EXAMPLE.COM",
        "node-1.example.com.",
    ] {
        assert_eq!(
            by_name(host, &nodes).unwrap(),
            "Node-1.Example.com",
            "{host}"
        );
    }
}

#[test]
fn short_and_full_names_match_in_both_directions() {
    let full = [node("node-1", &["node-1.example.com"])];
    assert_eq!(by_name("node-1", &full).unwrap(), "node-1");
    let short = [node("node-1", &["node-1"])];
    assert_eq!(by_name("node-1.example.com", &short).unwrap(), "node-1");
}

#[test]
fn two_full_names_that_begin_alike_are_different_hosts() {
    let nodes = [node("a", &["node-1.east.example.com"])];
    assert_eq!(by_name("node-1.west.example.com", &nodes), None);
}

#[test]
fn the_whole_name_comes_before_the_short_one() {
    let nodes = [node("a", &["node-1"]), node("b", &["node-1.example.com"])];
    assert_eq!(by_name("node-1", &nodes).unwrap(), "a");
    assert_eq!(by_name("node-1.example.com", &nodes).unwrap(), "b");
}

#[test]
fn an_address_as_host_name_has_no_short_form() {
    let nodes = [node("a", &["10"]), node("b", &["10.0.0.2"])];
    assert_eq!(by_name("10.0.0.1", &nodes), None);
    assert_eq!(by_name("10.0.0.2", &nodes).unwrap(), "b");
}

#[test]
fn two_nodes_that_match_are_named() {
    let nodes = [
        node("a", &["node-1.east.example.com"]),
        node("b", &["node-1.west.example.com"]),
    ];
    let data_nodes = [data_node("node-1", "10.0.0.1", 9866)];
    let identified = by_host_name(&data_nodes, &nodes);
    assert!(identified.nodes.is_empty());
    assert_eq!(
        identified.ambiguous[0].to_string(),
        "DataNode node-1:9866 matches the nodes a and b"
    );
}

#[test]
fn data_nodes_without_a_node_are_listed() {
    let data_nodes = [data_node("elsewhere", "10.9.9.9", 9866)];
    let id = data_nodes[0].id();
    let expected = BTreeSet::from([id]);
    let named = by_host_name(&data_nodes, &[node("a", &["node-1"])]);
    assert_eq!((named.nodes.len(), named.unmapped), (0, expected.clone()));
    let in_pods = by_pod(&data_nodes, &[pod("dn-0", "10.0.0.1", "a")]);
    assert_eq!((in_pods.nodes.len(), in_pods.unmapped), (0, expected));
}

#[test]
fn several_data_nodes_on_one_address_are_told_apart_by_name() {
    let data_nodes = [
        data_node("node-1", "10.0.0.1", 9866),
        data_node("node-2", "10.0.0.1", 9866),
        data_node("dn-3", "10.0.0.1", 9867),
    ];
    let nodes = [node("a", &["node-1"]), node("b", &["node-2"])];
    let identified = by_host_name(&data_nodes, &nodes);
    assert_eq!(identified.nodes[&data_nodes[0].id()], "a");
    assert_eq!(identified.nodes[&data_nodes[1].id()], "b");
    assert_eq!(identified.unmapped, BTreeSet::from([data_nodes[2].id()]));
}

#[test]
fn a_pod_is_found_by_its_name_and_by_its_address() {
    let mut third = pod("hdfs-datanode-default-2", "10.1.0.3", "c");
    third.hostname = Some("dn-2".to_owned());
    let pods = [
        pod("dn-0", "10.1.0.1", "a"),
        pod("dn-1", "10.1.0.2", "b"),
        third,
    ];
    let data_nodes = [
        data_node("dn-0.dn.hdfs.svc.cluster.local", "192.168.0.1", 9866),
        data_node("ip-10-1-0-2", "10.1.0.2", 9866),
        data_node("10.1.0.2", "", 9867),
        data_node("DN-2", "192.168.0.1", 9866),
    ];
    let identified = by_pod(&data_nodes, &pods);
    let nodes: Vec<_> = data_nodes
        .iter()
        .map(|one| identified.nodes[&one.id()].as_str())
        .collect();
    assert_eq!(nodes, ["a", "b", "b", "c"]);
}

#[test]
fn pods_of_one_name_are_told_apart_by_their_addresses() {
    let pods = [pod("dn-0", "10.1.0.1", "a"), pod("dn-0", "10.1.0.2", "b")];
    let found = by_pod(&[data_node("dn-0", "10.1.0.2", 9866)], &pods);
    assert_eq!(found.nodes.into_values().collect::<Vec<_>>(), ["b"]);
    let unclear = by_pod(&[data_node("dn-0", "10.9.9.9", 9866)], &pods);
    assert_eq!(unclear.ambiguous[0].nodes.len(), 2);
}

#[test]
fn several_pods_at_the_address_of_their_node_are_no_contradiction() {
    let pods = [pod("x", "10.0.0.1", "a"), pod("y", "10.0.0.1", "a")];
    let found = by_pod(&[data_node("node-1", "10.0.0.1", 9866)], &pods);
    assert_eq!(found.nodes.into_values().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn bytes_of_data_nodes_become_bytes_of_nodes() {
    let data_nodes = [
        data_node("node-1", "10.0.0.1", 9866),
        data_node("node-1", "10.0.0.1", 9867),
        data_node("elsewhere", "10.0.0.9", 9866),
    ];
    let ids: Vec<_> = data_nodes.iter().map(DataNode::id).collect();
    let holders = |some: &[usize]| Arc::new(some.iter().map(|one| ids[*one].clone()).collect());
    let path = PathScan {
        bytes: 1111,
        groups: BTreeMap::from([
            (holders(&[0, 1]), 1),
            (holders(&[1, 2]), 10),
            (holders(&[2]), 100),
            (holders(&[]), 1000),
        ]),
        ..PathScan::default()
    };
    let identified = by_host_name(&data_nodes, &[node("a", &["node-1"])]);
    let on_a = BTreeSet::from(["a".to_owned()]);
    assert_eq!(
        identified.by_node(&path),
        BTreeMap::from([(on_a, 11), (BTreeSet::new(), 1100)])
    );
}
