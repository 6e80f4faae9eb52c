//! Pods of a long-running workload, which all read the same.

use std::collections::BTreeMap;

use outrigger_placement::{AskedFor, Reserved, Workload, decide, room};
use serde_json::json;

use crate::world::{MIB, World};

fn replicas(replicas: u32) -> Workload {
    Workload::Replicas { replicas, start: 0 }
}

fn counts(list: &[(&str, u32)]) -> BTreeMap<String, u32> {
    list.iter()
        .map(|(node, count)| ((*node).to_owned(), *count))
        .collect()
}

#[test]
fn a_pod_goes_to_the_node_that_holds_most() {
    let mut world = World::of(&[4, 4, 4]);
    world.add_data(&[(&[1], 4), (&[2], 12)]);
    world.add_pod("risk-a");
    world.step();
    let explanation = world.explanation("risk-a");
    assert_eq!(explanation.node.as_deref(), Some("node-2"));
    assert_eq!(explanation.mode, AskedFor::Preferred);
    assert_eq!(
        (explanation.local_bytes, explanation.total_bytes),
        (12 * MIB, 16 * MIB)
    );
    assert_eq!(
        world.pods["risk-a"]["spec"]["affinity"]["nodeAffinity"],
        json!({"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 100, "preference": {"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["node-2"]},
            ]}},
            {"weight": 33, "preference": {"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["node-1"]},
            ]}},
        ]})
    );
}

#[test]
fn pods_that_come_one_at_a_time_get_what_was_planned_for_all() {
    let plan = |at_once: bool| {
        let mut world = World::of(&[4, 4, 4]);
        world.add_data(&[(&[1, 2], 8), (&[3], 2)]);
        world.workload = replicas(3);
        for name in ["risk-c", "risk-a", "risk-b"] {
            world.add_pod(name);
            if !at_once {
                world.step();
                world.schedule();
            }
        }
        world.step();
        world.schedule();
        world.counts()
    };
    assert_eq!(plan(true), plan(false));
}

#[test]
fn replicas_are_spread_over_the_nodes_that_hold_data_alone() {
    let mut world = World::of(&[4, 4, 4]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.workload = replicas(4);
    for name in ["a", "b", "c", "d"] {
        world.add_pod(name);
    }
    world.step();
    assert_eq!(world.counts(), counts(&[("node-1", 2), ("node-2", 2)]));
}

#[test]
fn pods_of_an_older_template_hold_room_but_are_nobodys_place() {
    let mut world = World::of(&[2, 2]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.workload = replicas(2);
    for (name, node) in [("old-a", "node-1"), ("old-b", "node-2")] {
        let pod = world.add_pod(name);
        pod["spec"] = json!({"containers": pod["spec"]["containers"], "nodeName": node});
        pod["metadata"]["labels"]["pod-template-hash"] = "t0".into();
    }
    world.add_pod("new-a");
    world.add_pod("new-b");
    world.step();
    assert_eq!(world.explanation("new-a").node.as_deref(), Some("node-1"));
    assert_eq!(world.explanation("new-b").node.as_deref(), Some("node-2"));
}

#[test]
fn a_pod_that_the_scheduler_put_elsewhere_counts_where_it_is() {
    let mut world = World::of(&[4, 4, 4]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.workload = replicas(2);
    world.add_pod("a");
    world.step();
    world.pods.get_mut("a").unwrap()["spec"]["nodeName"] = "node-2".into();
    world.add_pod("b");
    world.step();
    assert_eq!(world.explanation("b").node.as_deref(), Some("node-1"));
}

#[test]
fn a_released_pod_holds_its_room_before_it_is_bound() {
    let mut world = World::of(&[1, 1]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.locality.max_skew = 9;
    world.add_pod("a");
    world.step();
    world.add_pod("b");
    world.step();
    assert_eq!(world.counts(), counts(&[("node-1", 1), ("node-2", 1)]));
}

#[test]
fn pods_that_keep_apart_are_sent_to_different_nodes() {
    let mut world = World::of(&[4, 4]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.locality.max_skew = 9;
    for name in ["a", "b"] {
        let pod = world.add_pod(name);
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [{
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {"matchLabels": {"app": "risk"}},
            }],
        }});
        world.step();
    }
    assert_eq!(world.counts(), counts(&[("node-1", 1), ("node-2", 1)]));
}

#[test]
fn a_full_node_is_not_preferred_since_its_room_may_be_kept_for_another_pod() {
    let mut world = World::of(&[0, 4]);
    world.add_data(&[(&[1], 8)]);
    world.add_pod("a");
    world.step();
    let explanation = world.explanation("a");
    assert_eq!((explanation.node, explanation.mode), (None, AskedFor::None));
    world.schedule();
    assert_eq!(world.counts(), counts(&[("node-2", 1)]));
}

#[test]
fn weights_say_what_a_byte_counts() {
    let mut world = World::of(&[4, 4]);
    world.add_data(&[(&[1], 8)]);
    world.add_data(&[(&[2], 4)]);
    world.data[1].weight = 3;
    world.add_pod("a");
    world.step();
    let explanation = world.explanation("a");
    assert_eq!(explanation.node.as_deref(), Some("node-2"));
    assert_eq!(explanation.local_bytes, 4 * MIB);
}

#[test]
fn room_that_pods_of_others_will_take_is_taken() {
    let mut world = World::of(&[1, 1]);
    world.add_data(&[(&[1], 8), (&[2], 4)]);
    world.add_pod("a");
    let mut situation = world.situation();
    situation.reserved.push(Reserved {
        node: "node-1".to_owned(),
        pod_uid: "another".to_owned(),
        requests: room(&situation.pods[0].pod),
    });
    let decision = decide(&situation);
    let sent = decision.releases[0].explanation.node.as_deref();
    assert_eq!(sent, Some("node-2"));
}
