//! Replicas of a long-running workload over nodes: the most bytes under a bound on the skew.

use std::cmp::Reverse;

/// What spreading needs to know of a node that may run a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpreadNode {
    /// Bytes that a replica there has on its own node.
    pub bytes: u64,
    /// Replicas that are there already.
    pub placed: u32,
    /// How many more it has room for.
    pub slots: u32,
}

impl SpreadNode {
    /// The replicas that it can have at most.
    fn most(&self) -> u32 {
        self.placed.saturating_add(self.slots)
    }
}

/// How many replicas each node is to have, those that are there included, for so many `wanted` in
/// all: the most bytes that are on the replicas' own nodes.
///
/// Replicas are placed one after the other. A node with bytes may get one if it then has no more
/// than `max_skew` above the least of the nodes with bytes that are not full. Nodes without bytes
/// are used when all with bytes are full, the one with the fewest replicas first.
///
/// Of equally good results the most even one is chosen (the least sum of squares), and of these the
/// one that gives most to the first node, then to the second, and so on. Replicas that are there
/// stay, even if they are more than wanted. If there is no room for all, all nodes are full. A
/// `max_skew` of 0 is taken for 1: with 0 no replica could be placed.
pub fn spread(nodes: &[SpreadNode], wanted: u32, max_skew: u32) -> Vec<u32> {
    let mut counts: Vec<u32> = nodes.iter().map(|node| node.placed).collect();
    let placed: u64 = counts.iter().copied().map(u64::from).sum();
    let missing = u64::from(wanted).saturating_sub(placed);

    let (with, without): (Vec<usize>, Vec<usize>) =
        (0..nodes.len()).partition(|&node| nodes[node].bytes > 0);
    let room = |node: &usize| u64::from(nodes[*node].most() - nodes[*node].placed);
    let local = missing.min(with.iter().map(room).sum());
    let domain: Vec<SpreadNode> = with.iter().map(|&node| nodes[node]).collect();
    for (&node, count) in with.iter().zip(most_bytes(&domain, local, max_skew.max(1))) {
        counts[node] = count;
    }
    fill(&mut counts, &without, missing - local, |node| {
        nodes[node].most()
    });
    counts
}

/// The best way to place some more replicas on nodes with bytes, which have room for them.
///
/// The least count of the nodes that are not full, `level`, only rises. So when the last replica
/// is placed, every node has at least `level` or is full, and none was given more than
/// `level + max_skew`. All counts between these bounds can be reached, by filling the lower nodes
/// first. So each level is tried; within its bounds, nodes with more bytes simply come first.
fn most_bytes(nodes: &[SpreadNode], more: u64, max_skew: u32) -> Vec<u32> {
    let up_to = |level: u32, node: &SpreadNode| level.min(node.most()).max(node.placed);
    let mut by_bytes: Vec<usize> = (0..nodes.len()).collect();
    by_bytes.sort_by_key(|&node| Reverse(nodes[node].bytes));

    let not_full = nodes.iter().filter(|node| node.slots > 0);
    let first = not_full.map(|node| node.placed).min().unwrap_or(0);
    let mut best = None;
    for level in first.. {
        let mut counts: Vec<u32> = nodes.iter().map(|node| up_to(level, node)).collect();
        let given: u64 = counts
            .iter()
            .zip(nodes)
            .map(|(count, node)| u64::from(count - node.placed))
            .sum();
        let Some(mut left) = more.checked_sub(given) else {
            break;
        };
        let last = left == 0;
        for equal in by_bytes.chunk_by(|&a, &b| nodes[a].bytes == nodes[b].bytes) {
            let most = |node: usize| up_to(level.saturating_add(max_skew), &nodes[node]);
            left -= fill(&mut counts, equal, left, most);
        }
        if left == 0 {
            best = best.max(Some((quality(nodes, &counts), counts)));
        }
        if last {
            break;
        }
    }
    best.map(|(_, counts)| counts).unwrap_or_default()
}

/// What makes counts better: more local bytes, then fewer squares.
fn quality(nodes: &[SpreadNode], counts: &[u32]) -> (u128, Reverse<u128>) {
    let counts = counts.iter().map(|&count| u128::from(count));
    let bytes = nodes.iter().map(|node| u128::from(node.bytes));
    let local = counts
        .clone()
        .zip(bytes)
        .map(|(count, bytes)| count * bytes);
    let squares = counts.map(|count| count * count);
    (local.sum(), Reverse(squares.sum()))
}

/// Give some nodes up to so many `more` replicas, always to the one with the fewest, the first of
/// these; and say how many were given.
fn fill(counts: &mut [u32], nodes: &[usize], more: u64, most: impl Fn(usize) -> u32) -> u64 {
    let before: Vec<u32> = nodes.iter().map(|&node| counts[node]).collect();
    let at = |level: u32, index: usize| level.min(most(nodes[index])).max(before[index]);
    let given = |level: u32| -> u64 {
        let each = (0..nodes.len()).map(|index| at(level, index) - before[index]);
        each.map(u64::from).sum()
    };
    // The highest level to which all can be raised.
    let (mut level, mut above) = (0, u32::MAX);
    while level < above {
        let middle = above - (above - level) / 2;
        match given(middle) <= more {
            true => level = middle,
            false => above = middle - 1,
        }
    }
    let mut left = more - given(level);
    for (index, &node) in nodes.iter().enumerate() {
        counts[node] = at(level, index);
        if left > 0 && counts[node] == level && level < most(node) {
            counts[node] += 1;
            left -= 1;
        }
    }
    more - left
}
