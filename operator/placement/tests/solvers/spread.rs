//! Replicas over nodes.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use outrigger_placement::{SpreadNode, spread};
use proptest::collection::vec;
use proptest::prelude::*;

/// All counts that are reached by placing one replica after the other by the rules.
fn reachable(nodes: &[SpreadNode], wanted: u32, max_skew: u32) -> BTreeSet<Vec<u32>> {
    let most = |node: usize| nodes[node].placed + nodes[node].slots;
    let mut now = BTreeSet::from([nodes.iter().map(|node| node.placed).collect::<Vec<u32>>()]);
    loop {
        let mut next = BTreeSet::new();
        for counts in &now {
            if counts.iter().sum::<u32>() >= wanted {
                continue;
            }
            let open = |node: &usize| counts[*node] < most(*node);
            let (with, without): (Vec<usize>, Vec<usize>) = (0..nodes.len())
                .filter(open)
                .partition(|&node| nodes[node].bytes > 0);
            let least = |of: &[usize]| of.iter().map(|&node| counts[node]).min();
            let may: Vec<usize> = match least(&with) {
                Some(least) => with
                    .into_iter()
                    .filter(|&n| counts[n] + 1 - least <= max_skew)
                    .collect(),
                None => {
                    let least = least(&without);
                    without
                        .into_iter()
                        .filter(|&n| Some(counts[n]) == least)
                        .collect()
                }
            };
            for node in may {
                let mut counts = counts.clone();
                counts[node] += 1;
                next.insert(counts);
            }
        }
        if next.is_empty() {
            return now;
        }
        now = next;
    }
}

fn best(nodes: &[SpreadNode], wanted: u32, max_skew: u32) -> Vec<u32> {
    let quality = |counts: &Vec<u32>| {
        let local =
            |(count, node): (&u32, &SpreadNode)| u128::from(*count) * u128::from(node.bytes);
        let local: u128 = counts.iter().zip(nodes).map(local).sum();
        let squares: u32 = counts.iter().map(|count| count * count).sum();
        (local, Reverse(squares), counts.clone())
    };
    let reachable = reachable(nodes, wanted, max_skew);
    reachable.into_iter().max_by_key(quality).unwrap()
}

fn node(bytes: u64, placed: u32, slots: u32) -> SpreadNode {
    SpreadNode {
        bytes,
        placed,
        slots,
    }
}

fn nodes() -> impl Strategy<Value = Vec<SpreadNode>> {
    let bytes = prop_oneof![0..3_u64, 0..200_u64, Just(1 << 60)];
    let found = (bytes, 0..4_u32, 0..6_u32);
    vec(
        found.prop_map(|(bytes, placed, slots)| node(bytes, placed, slots)),
        0..5,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_counts_that_the_rules_allow_are_better(
        nodes in nodes(),
        wanted in 0..16_u32,
        max_skew in 1..4_u32,
    ) {
        prop_assert_eq!(spread(&nodes, wanted, max_skew), best(&nodes, wanted, max_skew));
    }
}

#[test]
fn a_poor_node_is_filled_early_where_that_opens_a_rich_one() {
    let nodes = [node(100, 0, 9), node(50, 0, 9), node(1, 0, 9)];
    assert_eq!(spread(&nodes, 3, 2), [2, 1, 0]);
    assert_eq!(spread(&nodes, 5, 2), [3, 1, 1]);
}

#[test]
fn a_full_node_holds_nobody_back() {
    assert_eq!(spread(&[node(9, 0, 9), node(8, 0, 1)], 6, 1), [5, 1]);
}

#[test]
fn equally_rich_nodes_share() {
    assert_eq!(spread(&[node(5, 0, 9); 3], 5, 5), [2, 2, 1]);
}

#[test]
fn nodes_without_bytes_come_last_and_share() {
    let nodes = [node(0, 1, 9), node(7, 0, 2), node(0, 0, 9)];
    assert_eq!(spread(&nodes, 3, 1), [1, 2, 0]);
    assert_eq!(spread(&nodes, 6, 1), [2, 2, 2]);
}

#[test]
fn replicas_stay_where_they_are() {
    assert_eq!(spread(&[node(1, 4, 2), node(9, 0, 2)], 3, 1), [4, 0]);
    assert_eq!(spread(&[node(1, 4, 2), node(9, 0, 2)], 6, 1), [4, 2]);
}

#[test]
fn more_than_fit_fill_all_nodes() {
    assert_eq!(spread(&[node(1, 0, 2), node(0, 1, 3)], u32::MAX, 1), [2, 4]);
    assert!(spread(&[], 3, 1).is_empty());
}

#[test]
fn limitless_slots_and_thousands_of_replicas_are_no_matter() {
    let nodes = [node(1 << 60, 0, u32::MAX), node(1, 0, u32::MAX)];
    assert_eq!(spread(&nodes, 10_000, 10), [5_005, 4_995]);
    assert_eq!(spread(&nodes, 10_000, u32::MAX), [10_000, 0]);
}
