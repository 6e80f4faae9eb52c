//! Assignments too large to try all: an assignment is the best if and only if no exchange betters
//! it, in which tasks change places in a circle. Where a circle passes the outside, tasks enter or
//! leave, or a free slot is taken for one that gets free.

use outrigger_placement::{NodeSlots, Task, assign};
use proptest::collection::vec;
use proptest::prelude::*;

/// What is lost by a change: placed tasks, local bytes, zone bytes.
type Loss = (i64, i64, i64);

fn plus(a: Loss, b: Loss) -> Loss {
    (a.0 + b.0, a.1 + b.1, a.2 + b.2)
}

fn worth(task: &Task, node: usize, nodes: &[NodeSlots]) -> Loss {
    let local = task.local.get(&node).copied().unwrap_or(0);
    let zone = task.zones.get(&nodes[node].zone).copied().unwrap_or(0);
    (1, local as i64, zone.max(local) as i64)
}

/// The least loss at which something changes from one node to another; the outside is the last.
fn changes(
    tasks: &[Task],
    nodes: &[NodeSlots],
    placed: &[Option<usize>],
) -> Vec<Vec<Option<Loss>>> {
    let outside = nodes.len();
    let mut least = vec![vec![None; outside + 1]; outside + 1];
    let mut offer = |from: usize, to: usize, loss: Loss| {
        let known = &mut least[from][to];
        *known = Some(known.map_or(loss, |known: Loss| known.min(loss)));
    };
    for (task, from) in tasks.iter().zip(placed) {
        let now = from.map_or((0, 0, 0), |from| worth(task, from, nodes));
        let from = from.unwrap_or(outside);
        offer(from, outside, now);
        for to in 0..outside {
            if task
                .allowed
                .as_ref()
                .is_none_or(|allowed| allowed.contains(&to))
            {
                let then = worth(task, to, nodes);
                offer(from, to, (now.0 - then.0, now.1 - then.1, now.2 - then.2));
            }
        }
    }
    for (node, found) in nodes.iter().enumerate() {
        let used = placed
            .iter()
            .filter(|placed| **placed == Some(node))
            .count();
        offer(outside, node, (0, 0, 0));
        if (used as u32) < found.slots {
            offer(node, outside, (0, 0, 0));
        }
    }
    least
}

/// Whether some circle of changes loses less than nothing (Bellman and Ford).
fn can_be_better(changes: &[Vec<Option<Loss>>]) -> bool {
    let mut reached = vec![(0, 0, 0); changes.len()];
    for _ in 0..=changes.len() {
        let mut fell = false;
        for (from, row) in changes.iter().enumerate() {
            for (to, loss) in row.iter().enumerate() {
                let Some(loss) = loss else { continue };
                let by_this = plus(reached[from], *loss);
                if by_this < reached[to] {
                    reached[to] = by_this;
                    fell = true;
                }
            }
        }
        if !fell {
            return false;
        }
    }
    true
}

fn problem() -> impl Strategy<Value = (Vec<Task>, Vec<NodeSlots>)> {
    let node = (0..9_u32, 0..4_usize).prop_map(|(slots, zone)| NodeSlots { slots, zone });
    vec(node, 12).prop_flat_map(|nodes| {
        // A block: its bytes, and up to three nodes that hold it, the first ones more often.
        let holder = prop_oneof![0..4_usize, 0..12_usize];
        let block = (1..50_u64, vec(holder, 1..4));
        let bound = prop_oneof![9 => Just(None), 1 => (0..11_usize).prop_map(Some)];
        let zones: Vec<usize> = nodes.iter().map(|node| node.zone).collect();
        let task = (vec(block, 0..4), bound).prop_map(move |(blocks, bound)| {
            let mut task = Task {
                allowed: bound.map(|node| [node, node + 1].into()),
                ..Task::default()
            };
            for (bytes, mut holders) in blocks {
                task.bytes += bytes;
                holders.sort_unstable();
                holders.dedup();
                let mut in_zones: Vec<usize> = holders.iter().map(|node| zones[*node]).collect();
                in_zones.sort_unstable();
                in_zones.dedup();
                for node in holders {
                    *task.local.entry(node).or_default() += bytes;
                }
                for zone in in_zones {
                    *task.zones.entry(zone).or_default() += bytes;
                }
            }
            task
        });
        (vec(task, 20..80), Just(nodes))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_exchange_makes_an_assignment_better((tasks, nodes) in problem()) {
        let placed = assign(&tasks, &nodes).nodes;
        prop_assert!(!can_be_better(&changes(&tasks, &nodes, &placed)));
    }
}

#[test]
fn an_assignment_that_is_not_the_best_is_found_out() {
    let nodes = vec![NodeSlots { slots: 1, zone: 0 }; 3];
    let task = |node: usize| Task {
        bytes: 10,
        local: [(node, 10)].into(),
        ..Task::default()
    };
    let tasks = [task(0), task(1), task(2)];
    let found_out = |placed: &[Option<usize>]| can_be_better(&changes(&tasks, &nodes, placed));
    assert!(!found_out(&[Some(0), Some(1), Some(2)]));
    assert!(found_out(&[Some(1), Some(2), Some(0)]));
    assert!(found_out(&[Some(0), Some(1), None]));
}
