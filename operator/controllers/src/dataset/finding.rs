use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use outrigger_api::conditions::reason;
use outrigger_api::{DatasetProblem, NodeBytes};
use outrigger_placement::{Located, Size};

use crate::status::{Progress, Summary, listed};

/// Most names in a message.
const NAMES: usize = 3;

/// What is known of a dataset after a look at it.
#[derive(Clone, Debug, Default)]
pub(super) struct Finding {
    /// Where the bytes are; `None` if nothing has been found out yet.
    pub(super) places: Option<Places>,
    /// DataNodes on no node or on several, in order.
    pub(super) unknown_data_nodes: Vec<String>,
    /// What could not be looked at, each name once.
    pub(super) problems: Vec<DatasetProblem>,
    /// What stands in the way.
    pub(super) trouble: Option<Trouble>,
}

/// What stands in the way first, and what it means for what was known before.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) summary: Summary,
    /// Whether something could not be asked, so that the places are those of before.
    pub(super) unanswered: bool,
}

/// Where the bytes of a dataset are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Places {
    pub(super) located: Arc<Located>,
    pub(super) counts: Counts,
    /// Nodes that hold some of the bytes and are not ready, so that they do not count.
    pub(super) not_ready: BTreeSet<String>,
    /// What else there is to say, a clause each.
    pub(super) remarks: Vec<String>,
}

/// How many things the bytes are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    Claims(u64),
    Hdfs { files: u64, blocks: u64 },
}

impl Default for Counts {
    fn default() -> Counts {
        Counts::Claims(0)
    }
}

impl Places {
    /// All bytes, each counted once.
    pub(super) fn bytes(&self) -> u64 {
        total(self.located.parts.iter().map(|part| part.bytes))
    }

    /// Bytes that are on no node, or on none more than on another.
    pub(super) fn on_no_node(&self) -> u64 {
        let groups = self.located.parts.iter().flat_map(|part| &part.groups);
        let nowhere = groups.filter(|(nodes, _)| nodes.is_empty());
        total(nowhere.map(|(_, bytes)| *bytes))
    }

    /// The nodes that hold some of the bytes: those that hold most come first, and of those with
    /// as many the first by name.
    pub(super) fn nodes(&self) -> Vec<NodeBytes> {
        let mut held: BTreeMap<&str, u64> = BTreeMap::new();
        for (nodes, bytes) in self.located.parts.iter().flat_map(|part| &part.groups) {
            for node in nodes.iter().filter(|_| *bytes > 0) {
                let held = held.entry(node).or_default();
                *held = held.saturating_add(*bytes);
            }
        }
        let mut held: Vec<_> = held.into_iter().collect();
        held.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        let node = |(name, bytes): (&str, u64)| NodeBytes {
            name: name.to_owned(),
            bytes: whole(bytes),
        };
        held.into_iter().map(node).collect()
    }

    /// All of it in one sentence.
    pub(super) fn sentence(&self) -> String {
        let bytes = self.bytes();
        let things = match self.counts {
            Counts::Claims(claims) => counted(claims, "claim"),
            Counts::Hdfs { files, .. } => counted(files, "file"),
        };
        let nodes = self.nodes();
        let mut clauses = vec![match nodes.as_slice() {
            _ if bytes == 0 => format!("no bytes in {things}"),
            [] => format!("{} in {things}, on no node alone", Size(bytes)),
            [node] => format!("{} in {things} on {}", Size(bytes), node.name),
            [most, .., least] => {
                let size = Size(u64::try_from(most.bytes).unwrap_or_default());
                let held = format!("{} in {things} on {} nodes", Size(bytes), nodes.len());
                match most.bytes == least.bytes {
                    true => format!("{held}; each holds {size}"),
                    false => format!("{held}; {} holds most, {size}", most.name),
                }
            }
        }];
        clauses.extend(self.remarks.iter().cloned());
        if !self.not_ready.is_empty() {
            let names: Vec<&String> = self.not_ready.iter().collect();
            let is = if names.len() == 1 { "is" } else { "are" };
            let names = listed(&names, NAMES);
            clauses.push(format!("{names} {is} not ready, and so does not count"));
        }
        clauses.join("; ")
    }
}

impl Finding {
    /// What to say of the dataset.
    pub(super) fn summary(&self) -> Summary {
        let places = self.places.as_ref().map(Places::sentence);
        match (&self.trouble, places) {
            (None, places) => Summary {
                progress: Progress::Ready,
                reason: reason::SUCCEEDED,
                message: places.unwrap_or_default(),
            },
            (Some(trouble), None) => trouble.summary.clone(),
            (Some(trouble), Some(places)) => {
                let before = match trouble.unanswered {
                    true => "what was found before stays in effect: ",
                    false => "",
                };
                Summary {
                    message: format!("{}; {before}{places}", trouble.summary.message),
                    ..trouble.summary.clone()
                }
            }
        }
    }
}

/// A number of things: `1 file`, `6 files`.
pub(super) fn counted(count: u64, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

/// A sum, or the largest number instead: a server may say anything.
pub(super) fn total(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// A number that the API knows as one with a sign.
pub(super) fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The first of several messages, and how many more there are.
pub(super) fn first_of(messages: &[String]) -> Option<String> {
    let (first, others) = messages.split_first()?;
    Some(match others.len() {
        0 => first.clone(),
        others => format!("{first} (and {others} more, see status.problems)"),
    })
}

#[cfg(test)]
mod tests {
    use outrigger_placement::Part;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn places(groups: &[(&[&str], u64)]) -> Places {
        let groups = groups.iter().map(|(nodes, bytes)| {
            let nodes = nodes.iter().map(|node| (*node).to_owned()).collect();
            (nodes, *bytes)
        });
        let groups: BTreeMap<BTreeSet<String>, u64> = groups.collect();
        Places {
            located: Arc::new(Located {
                parts: vec![Part {
                    name: "/market".into(),
                    bytes: total(groups.values().copied()),
                    groups,
                }],
            }),
            counts: Counts::Hdfs {
                files: 6,
                blocks: 24,
            },
            ..Places::default()
        }
    }

    #[test]
    fn a_dataset_is_told_in_one_sentence() {
        let spread = places(&[
            (&["node-1"], 2 * MIB),
            (&["node-2"], 10 * MIB),
            (&["node-2", "node-3"], 2 * MIB),
            (&["node-4"], 10 * MIB),
        ]);
        assert_eq!(
            spread.sentence(),
            "24.0 MiB in 6 files on 4 nodes; node-2 holds most, 12.0 MiB"
        );
        for (groups, expected) in [
            (&[][..], "no bytes in 6 files"),
            (&[(&["node-1"][..], MIB)], "1.0 MiB in 6 files on node-1"),
            (
                &[(&["node-1", "node-2"][..], MIB)],
                "1.0 MiB in 6 files on 2 nodes; each holds 1.0 MiB",
            ),
            (&[(&[][..], MIB)], "1.0 MiB in 6 files, on no node alone"),
        ] {
            assert_eq!(places(groups).sentence(), expected);
        }
    }

    #[test]
    fn a_tie_goes_to_the_first_by_name() {
        let tied = places(&[(&["node-2"], 5), (&["node-1"], 5), (&["node-3"], 9)]);
        let names: Vec<String> = tied.nodes().into_iter().map(|node| node.name).collect();
        assert_eq!(names, ["node-3", "node-1", "node-2"]);
    }

    #[test]
    fn bytes_without_a_node_are_counted_apart() {
        let some = places(&[(&[], 3), (&["node-1"], 4)]);
        assert_eq!((some.bytes(), some.on_no_node()), (7, 3));
    }

    #[test]
    fn more_bytes_than_can_be_are_the_most_that_can_be() {
        let (a, b) = (&["node-1"][..], &["node-1", "node-2"][..]);
        let absurd = places(&[(a, u64::MAX), (b, 9), (&[], 8)]);
        assert_eq!((absurd.bytes(), absurd.on_no_node()), (u64::MAX, 8));
        assert_eq!(absurd.nodes()[0].bytes, i64::MAX);
        let parts = absurd.located.parts.iter().cycle().take(2).cloned();
        let twice = Places {
            located: Arc::new(Located {
                parts: parts.collect(),
            }),
            ..absurd.clone()
        };
        assert_eq!((twice.bytes(), twice.on_no_node()), (u64::MAX, 16));
    }
}
