//! Tasks onto nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use outrigger_placement::{NodeSlots, Task, assign};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

/// How good an assignment is, in the order of the goals: placed tasks, local bytes, zone bytes.
type Quality = (usize, u128, u128);

/// What an assignment is worth, counted anew from the tasks; fails if it breaks a rule.
fn quality(tasks: &[Task], nodes: &[NodeSlots], placed: &[Option<usize>]) -> Quality {
    assert_eq!(placed.len(), tasks.len());
    let mut used = vec![0; nodes.len()];
    let mut quality = (0, 0, 0);
    for (task, node) in tasks.iter().zip(placed) {
        let Some(node) = *node else { continue };
        let allowed = task.allowed.as_ref();
        assert!(allowed.is_none_or(|allowed| allowed.contains(&node)));
        used[node] += 1;
        let local = task.local.get(&node).copied().unwrap_or(0);
        let zone = task.zones.get(&nodes[node].zone).copied().unwrap_or(0);
        quality.0 += 1;
        quality.1 += u128::from(local);
        quality.2 += u128::from(zone.max(local));
    }
    assert!(
        used.iter()
            .zip(nodes)
            .all(|(used, node)| *used <= node.slots)
    );
    quality
}

/// The best of all assignments.
fn best(tasks: &[Task], nodes: &[NodeSlots]) -> Quality {
    fn place(
        tasks: &[Task],
        nodes: &[NodeSlots],
        placed: &mut Vec<Option<usize>>,
        used: &mut [u32],
    ) -> Quality {
        let Some(task) = tasks.get(placed.len()) else {
            return quality(tasks, nodes, placed);
        };
        placed.push(None);
        let mut best = place(tasks, nodes, placed, used);
        placed.pop();
        for node in 0..nodes.len() {
            let allowed = task.allowed.as_ref();
            if used[node] < nodes[node].slots && allowed.is_none_or(|those| those.contains(&node)) {
                used[node] += 1;
                placed.push(Some(node));
                best = best.max(place(tasks, nodes, placed, used));
                placed.pop();
                used[node] -= 1;
            }
        }
        best
    }
    place(tasks, nodes, &mut Vec::new(), &mut vec![0; nodes.len()])
}

/// Bytes that are often equal, often near each other, and sometimes as large as they may be.
fn bytes() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..4_u64,
        4 => 0..100_u64,
        1 => (1_u64 << 60) - 3..=1 << 60,
    ]
}

fn problem() -> impl Strategy<Value = (Vec<Task>, Vec<NodeSlots>)> {
    (1..5_usize, 1..4_usize).prop_flat_map(|(nodes, zones)| {
        let node = (0..4_u32, 0..zones).prop_map(|(slots, zone)| NodeSlots { slots, zone });
        let held = |places| btree_map(0..places, bytes(), 0..=places);
        let allowed = prop_oneof![
            3 => Just(None),
            1 => btree_set(0..nodes, 0..=nodes).prop_map(Some),
        ];
        let task = (bytes(), held(nodes), held(zones), allowed);
        let task = task.prop_map(|(more, local, zones, allowed)| {
            let held = local.values().chain(zones.values()).max();
            Task {
                bytes: more + held.copied().unwrap_or(0),
                local,
                zones,
                allowed,
            }
        });
        (vec(task, 0..6), vec(node, nodes))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_assignment_is_better((tasks, nodes) in problem()) {
        let found = assign(&tasks, &nodes);
        let quality = quality(&tasks, &nodes, &found.nodes);
        prop_assert_eq!(quality, best(&tasks, &nodes));
        prop_assert_eq!((found.local_bytes, found.zone_bytes), (quality.1, quality.2));
    }

    #[test]
    fn the_order_of_tasks_does_not_count(
        (tasks, nodes) in problem(),
        seed in any::<u64>(),
    ) {
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|&task| (task as u64 + 1).wrapping_mul(seed | 1));
        let shuffled: Vec<Task> = order.iter().map(|&task| tasks[task].clone()).collect();
        let pairs = |tasks: &[Task]| {
            let found = assign(tasks, &nodes);
            let mut pairs: Vec<_> = tasks.iter().cloned().zip(found.nodes).collect();
            pairs.sort();
            pairs
        };
        prop_assert_eq!(pairs(&tasks), pairs(&shuffled));
    }

    #[test]
    fn of_equal_tasks_an_earlier_one_is_never_worse_off((tasks, nodes) in problem()) {
        let tasks: Vec<Task> = tasks.iter().chain(&tasks).cloned().collect();
        let found = assign(&tasks, &nodes).nodes;
        let worth = |task: usize| {
            let alone = quality(&tasks[task..=task], &nodes, &found[task..=task]);
            (Reverse(alone), found[task])
        };
        for later in 0..tasks.len() {
            for earlier in 0..later {
                let equal = tasks[earlier] == tasks[later];
                prop_assert!(!equal || worth(earlier) <= worth(later));
            }
        }
    }
}

fn slots(slots: &[u32]) -> Vec<NodeSlots> {
    let node = |&slots| NodeSlots { slots, zone: 0 };
    slots.iter().map(node).collect()
}

fn task(local: &[(usize, u64)]) -> Task {
    Task {
        bytes: 10,
        local: local.iter().copied().collect(),
        ..Task::default()
    }
}

#[test]
fn a_task_moves_for_one_that_can_go_nowhere_else() {
    let tasks = [task(&[(0, 10), (1, 10)]), task(&[(0, 9)])];
    let found = assign(&tasks, &slots(&[1, 1]));
    assert_eq!(found.nodes, [Some(1), Some(0)]);
    assert_eq!((found.remote_bytes(), found.off_zone_bytes()), (1, 1));
}

#[test]
fn a_slot_counts_more_than_any_bytes() {
    let tasks = [
        task(&[(0, 1 << 60)]),
        Task {
            allowed: Some(BTreeSet::from([0])),
            ..task(&[])
        },
    ];
    let found = assign(&tasks, &slots(&[1, 1]));
    assert_eq!(found.nodes, [Some(1), Some(0)]);
}

#[test]
fn what_is_not_on_its_node_is_in_its_zone_if_it_can_be() {
    let nodes = [(0, 1), (1, 0), (1, 1)].map(|(zone, slots)| NodeSlots { slots, zone });
    let near = Task {
        zones: BTreeMap::from([(1, 10)]),
        ..task(&[(1, 10)])
    };
    let found = assign(&[task(&[]), near], &nodes);
    assert_eq!(found.nodes, [Some(0), Some(2)]);
    assert_eq!((found.local_bytes, found.zone_bytes), (0, 10));
}

#[test]
fn tasks_to_which_all_nodes_are_alike_fill_the_first_ones() {
    let found = assign(&vec![task(&[]); 4], &slots(&[1, 0, 2, 5]));
    assert_eq!(found.nodes, [Some(0), Some(2), Some(2), Some(3)]);
}

#[test]
fn without_slots_or_nodes_or_tasks_nobody_is_placed() {
    assert_eq!(assign(&[task(&[(0, 1)])], &slots(&[0])).nodes, [None]);
    assert_eq!(assign(&[task(&[])], &[]).nodes, [None]);
    assert!(assign(&[], &slots(&[3])).nodes.is_empty());
}

#[test]
fn as_many_bytes_as_there_can_be_do_not_overflow() {
    let all = 1_u64 << 60;
    let one = |node: usize| Task {
        bytes: all,
        local: (0..40)
            .map(|other| (other, all - (node.abs_diff(other) as u64)))
            .collect(),
        ..Task::default()
    };
    let tasks: Vec<Task> = (0..41).map(|node| one(node % 40)).collect();
    let found = assign(&tasks, &slots(&[1; 40]));
    assert_eq!(found.local_bytes, 40 * u128::from(all));
    assert_eq!(found.nodes.iter().filter(|node| node.is_none()).count(), 1);
}
