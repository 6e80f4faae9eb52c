//! How much of its data a pod has on its own node, told without the operator: by `hdfs fsck` and by
//! the nodes that pods are on. And how much could be had at best.

mod layout;
mod optimum;
mod table;

use std::collections::BTreeMap;

use outrigger_lab::FsckBlock;

pub use self::layout::{BLOCK, Layout, NODES};
pub use self::optimum::{best_assignment, best_counts};
pub use self::table::{Achieved, Row, table};

/// Bytes of files, and how many of them each node holds a copy of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// All bytes, each counted once.
    pub bytes: u64,
    on: BTreeMap<String, u64>,
}

impl Held {
    /// By blocks as `hdfs fsck` finds them.
    pub fn of<'a>(blocks: impl IntoIterator<Item = &'a FsckBlock>) -> Held {
        let mut held = Held::default();
        for block in blocks {
            held.bytes += block.bytes;
            for node in &block.nodes {
                *held.on.entry(node.clone()).or_default() += block.bytes;
            }
        }
        held
    }

    /// Bytes that a node holds.
    pub fn on(&self, node: &str) -> u64 {
        self.on.get(node).copied().unwrap_or(0)
    }

    /// The nodes that hold some.
    pub fn nodes(&self) -> impl Iterator<Item = &str> {
        self.on.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_two_copies_is_on_both_nodes_and_counts_once() {
        let block = |nodes: &[&str]| FsckBlock {
            file: "/a".to_owned(),
            block: 0,
            bytes: 10,
            nodes: nodes.iter().map(|node| (*node).to_owned()).collect(),
        };
        let held = Held::of(&[block(&["a", "b"]), block(&["b"]), block(&[])]);
        assert_eq!((held.bytes, held.on("a"), held.on("b")), (30, 10, 20));
        assert_eq!(held.on("c"), 0);
    }
}
