//! Pods that read a part each.

use std::collections::BTreeMap;

use outrigger_placement::{Split, Workload};
use serde_json::json;

use crate::world::{World, part};

/// Part 0 is on nodes 1 and 2, part 1 on node 1 alone; each node has room for one.
fn contended() -> World {
    let mut world = World::of(&[1, 1, 1]);
    let parts = vec![part("p0", &[(&[1, 2], 8)]), part("p1", &[(&[1], 8)])];
    world.add_parts(Split::ByIndex, parts);
    world
}

fn places(list: &[(&str, &str)]) -> BTreeMap<String, Option<String>> {
    let place = |(pod, node): &(&str, &str)| ((*pod).to_owned(), Some((*node).to_owned()));
    list.iter().map(place).collect()
}

#[test]
fn a_task_leaves_its_node_to_one_that_has_no_other() {
    for order in [[0, 1], [1, 0]] {
        let mut world = contended();
        world.workload = Workload::Replicas {
            replicas: 2,
            start: 0,
        };
        for index in order {
            world.add_indexed(index);
            world.step();
            world.schedule();
        }
        let expected = places(&[("risk-0", "node-2"), ("risk-1", "node-1")]);
        assert_eq!(world.places(), expected, "{order:?}");
    }
}

#[test]
fn the_indexes_of_a_job_are_read_from_its_annotation() {
    let mut world = contended();
    world.workload = Workload::Indexed {
        completions: 2,
        parallelism: 2,
    };
    let pod = world.add_pod("risk-0-x7f");
    let index = "batch.kubernetes.io/job-completion-index";
    pod["metadata"]["annotations"] = json!({index: "0"});
    world.step();
    assert_eq!(world.places(), places(&[("risk-0-x7f", "node-2")]));
}

#[test]
fn indexes_that_come_after_these_have_ended_do_not_count() {
    let mut world = contended();
    world.workload = Workload::Indexed {
        completions: 2,
        parallelism: 1,
    };
    world.add_indexed(0);
    world.step();
    assert_eq!(world.places(), places(&[("risk-0", "node-1")]));
}

#[test]
fn an_index_beyond_the_last_part_goes_on_with_the_first() {
    let mut world = World::of(&[4, 4]);
    let parts = vec![part("p0", &[(&[1], 8)]), part("p1", &[(&[2], 8)])];
    world.add_parts(Split::ByIndex, parts);
    for index in [2, 3] {
        world.add_indexed(index);
    }
    world.step();
    assert_eq!(
        world.places(),
        places(&[("risk-2", "node-1"), ("risk-3", "node-2")])
    );
}

#[test]
fn parts_and_whole_datasets_add_up() {
    let mut world = World::of(&[4, 4, 4]);
    world.add_parts(Split::ByIndex, vec![part("p0", &[(&[1], 4), (&[2], 3)])]);
    world.add_data(&[(&[2], 2)]);
    world.add_indexed(0);
    world.step();
    assert_eq!(world.places(), places(&[("risk-0", "node-2")]));
}

#[test]
fn a_task_without_room_on_its_nodes_goes_to_their_zone() {
    let mut world = World::of(&[0, 4, 4]);
    for (node, zone) in [("node-1", "b"), ("node-2", "a"), ("node-3", "b")] {
        let node = world.nodes.get_mut(node).unwrap();
        node["metadata"]["labels"]["topology.kubernetes.io/zone"] = zone.into();
    }
    world.add_parts(Split::ByIndex, vec![part("p0", &[(&[1], 8)])]);
    world.add_indexed(0);
    world.step();
    assert_eq!(world.places(), places(&[("risk-0", "node-3")]));
    assert!(
        world.explanation("risk-0").reason.starts_with(
            "no node that holds some of its 8.0 MiB has room for it; node-3 is in zone b, where some of them are"
        ),
        "{}",
        world.explanation("risk-0").reason
    );
}

#[test]
fn lower_indexes_get_the_room_that_there_is() {
    let mut world = World::of(&[1, 1]);
    let parts = vec![
        part("p0", &[(&[1], 2)]),
        part("p1", &[(&[2], 2)]),
        part("p2", &[(&[1], 90)]),
    ];
    world.add_parts(Split::ByIndex, parts);
    for index in [2, 1, 0] {
        world.add_indexed(index);
    }
    world.step();
    let expected = [("risk-0", "node-1"), ("risk-1", "node-2")];
    let mut expected = places(&expected);
    expected.insert("risk-2".to_owned(), None);
    assert_eq!(world.places(), expected);
}
