//! What is usually done: one task after the other, and nobody moves again.

use outrigger_placement::{NodeSlots, Task};

/// The first node that holds bytes of the task and has a slot, otherwise the first with a slot.
pub fn first_fit(tasks: &[Task], nodes: &[NodeSlots]) -> Vec<Option<usize>> {
    let mut free: Vec<u32> = nodes.iter().map(|node| node.slots).collect();
    let mut full = 0;
    let place = |task: &Task| {
        let mut holders = task.local.keys().copied();
        let node = holders.find(|&node| free[node] > 0).or_else(|| {
            full += free[full..].iter().position(|&free| free > 0)?;
            Some(full)
        })?;
        free[node] -= 1;
        Some(node)
    };
    tasks.iter().map(place).collect()
}

/// The node with most of the task's bytes, and of these the one with most free slots; otherwise
/// the one with most free slots of all.
pub fn least_loaded(tasks: &[Task], nodes: &[NodeSlots]) -> Vec<Option<usize>> {
    let mut free: Vec<u32> = nodes.iter().map(|node| node.slots).collect();
    let place = |task: &Task| {
        let holders = task.local.iter().filter(|(node, _)| free[**node] > 0);
        let best = holders.max_by_key(|(node, bytes)| (**bytes, free[**node]));
        let node = best.map(|(node, _)| *node).or_else(|| {
            let most = (0..free.len()).max_by_key(|&node| free[node]);
            most.filter(|&node| free[node] > 0)
        })?;
        free[node] -= 1;
        Some(node)
    };
    tasks.iter().map(place).collect()
}
