//! The most that can be had, by looking at all possibilities. It shares nothing with the operator.

use std::collections::BTreeMap;

/// The most bytes that tasks can have on their own nodes, when each node takes so many tasks and
/// `local` says how many bytes of a task a node holds; `None` if there is no room for all tasks.
pub fn best_assignment(local: &[Vec<u64>], slots: &[u32]) -> Option<u64> {
    // The best for each use of the slots by the tasks so far.
    let mut best = BTreeMap::from([(vec![0; slots.len()], 0)]);
    for task in local {
        let mut next = BTreeMap::new();
        for (used, bytes) in &best {
            for (node, on_node) in task.iter().enumerate() {
                let mut used: Vec<u32> = used.clone();
                used[node] += 1;
                if used[node] <= slots[node] {
                    let so_far = next.entry(used).or_insert(0);
                    *so_far = (*so_far).max(bytes + on_node);
                }
            }
        }
        best = next;
    }
    best.into_values().max()
}

/// The most bytes that replicas, each of which reads everything, can have on their own nodes, when
/// no node with data has more than `max_skew` more of them than another; `None` if no node has data.
pub fn best_counts(held: &[u64], replicas: u32, max_skew: u32) -> Option<u64> {
    let held: Vec<_> = held.iter().copied().filter(|bytes| *bytes > 0).collect();
    counts(held.len(), replicas)
        .into_iter()
        .filter(|counts| {
            let least = counts.iter().min().copied().unwrap_or(0);
            counts.iter().all(|count| count - least <= max_skew)
        })
        .map(|counts| {
            let pairs = counts.iter().zip(&held);
            pairs.map(|(count, bytes)| u64::from(*count) * bytes).sum()
        })
        .max()
}

/// All ways to write a number as a sum of so many.
fn counts(nodes: usize, total: u32) -> Vec<Vec<u32>> {
    match nodes {
        0 => Vec::new(),
        1 => vec![vec![total]],
        _ => (0..=total)
            .flat_map(|first| {
                let rest = counts(nodes - 1, total - first);
                rest.into_iter().map(move |mut rest| {
                    rest.push(first);
                    rest
                })
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_makes_room_for_one_that_loses_more_elsewhere() {
        let local = [vec![10, 9], vec![8, 0]];
        assert_eq!(best_assignment(&local, &[1, 1]), Some(17));
        assert_eq!(best_assignment(&local, &[2, 0]), Some(18));
        assert_eq!(best_assignment(&local, &[1, 0]), None);
    }

    #[test]
    fn replicas_are_as_uneven_as_is_allowed() {
        assert_eq!(best_counts(&[9, 1], 4, 1), Some(20));
        assert_eq!(best_counts(&[9, 1], 4, 2), Some(28));
        assert_eq!(best_counts(&[9, 1], 4, 4), Some(36));
        assert_eq!(best_counts(&[1, 9, 0], 3, 1), Some(19));
        assert_eq!(best_counts(&[0, 0], 3, 1), None);
    }
}
