use std::collections::{BTreeMap, BTreeSet};

/// Where the bytes of a dataset are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Located {
    /// The parts of the dataset, an HDFS path or a claim each, in the order of its spec.
    pub parts: Vec<Part>,
}

/// Where the bytes of one part of a dataset are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The path, or the name of the claim.
    pub name: String,
    /// All bytes, each counted once however many copies there are.
    pub bytes: u64,
    /// Bytes by the names of the nodes that hold a copy of them. The empty set stands for bytes
    /// that no node holds alone, such as erasure-coded or missing blocks.
    pub groups: BTreeMap<BTreeSet<String>, u64>,
}

impl Part {
    /// Bytes of which a node holds a copy.
    pub fn on_node(&self, node: &str) -> u64 {
        self.on_any(|holder| holder == node)
    }

    /// Bytes of which at least one of some nodes holds a copy, such as those of a zone.
    pub fn on_any(&self, wanted: impl Fn(&str) -> bool) -> u64 {
        let holders = |group: &&BTreeSet<String>| group.iter().any(|holder| wanted(holder));
        let groups = self.groups.iter().filter(|(group, _)| holders(group));
        groups.fold(0, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_with_two_copies_in_a_zone_count_once() {
        let group = |nodes: &[&str]| nodes.iter().map(|node| (*node).to_owned()).collect();
        let part = Part {
            name: "/data".to_owned(),
            bytes: 110,
            groups: BTreeMap::from([
                (group(&["a", "b"]), 100),
                (group(&["c"]), 7),
                (group(&[]), 3),
            ]),
        };
        assert_eq!(part.on_node("a"), 100);
        assert_eq!(part.on_any(|node| node == "a" || node == "b"), 100);
        assert_eq!(part.on_any(|_| true), 107);
    }
}
