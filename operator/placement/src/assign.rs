//! Tasks onto nodes: an exact assignment with the least bytes to read from elsewhere.

mod cost;
mod frontier;
mod places;
mod search;
mod seats;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cost::{Cost, Whole};
use places::Places;
use search::Search;
use seats::Seats;

/// A task that reads given bytes, such as one pod of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Task {
    /// All bytes that it reads.
    pub bytes: u64,
    /// How many of them are on which node, by the node's index.
    pub local: BTreeMap<usize, u64>,
    /// How many are in which zone. A zone has at least what each of its nodes has, so this need
    /// not be repeated.
    pub zones: BTreeMap<usize, u64>,
    /// Indices of the nodes that may run it; all nodes if `None`.
    pub allowed: Option<BTreeSet<usize>>,
}

/// How many tasks a node has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSlots {
    /// Free slots.
    pub slots: u32,
    /// The zone of the node. Zones are numbered from 0.
    pub zone: usize,
}

/// Where each task is to run, and what comes of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment {
    /// The node's index for each task, in the order of the tasks; `None` if no slot is left for it.
    pub nodes: Vec<Option<usize>>,
    /// All bytes that the placed tasks read.
    pub bytes: u128,
    /// Those of them that are on the task's own node.
    pub local_bytes: u128,
    /// Those of them that are in the zone of the task's node, on the node itself or on others.
    pub zone_bytes: u128,
}

impl Assignment {
    /// Bytes that placed tasks read from other nodes.
    pub fn remote_bytes(&self) -> u128 {
        self.bytes - self.local_bytes
    }

    /// Bytes that placed tasks read from other zones.
    pub fn off_zone_bytes(&self) -> u128 {
        self.bytes - self.zone_bytes
    }
}

/// The best assignment of tasks to the slots of nodes.
///
/// What counts, in this order: as many tasks as possible get a slot; as many bytes as possible are
/// on the tasks' own nodes; as many bytes as possible are in their zones. No assignment is better.
///
/// Which of equally good ones it is follows from the tasks and the order of the nodes alone, not
/// from the order of the tasks. Tasks are taken by value, the most bytes on one node first; of
/// equally good nodes with a free slot a task takes the first. Of tasks that are equal in every field
/// the earlier one gets the better node, or of equally good ones the first.
///
/// # Panics
///
/// Panics if a task names a node that is not given.
pub fn assign(tasks: &[Task], nodes: &[NodeSlots]) -> Assignment {
    let held = |task: &Task| {
        let held = task.local.values().chain(task.zones.values());
        held.copied().max()
    };
    let largest = tasks.iter().filter_map(held).max().unwrap_or(0);
    let placed = match i64::fits(largest, Places::count(nodes)) {
        true => solve::<i64>(tasks, nodes),
        false => solve::<i128>(tasks, nodes),
    };
    let mut assignment = Assignment::default();
    for (task, node) in tasks.iter().zip(&placed) {
        let Some(node) = *node else { continue };
        let (local, zone) = task.on(node, nodes);
        assignment.bytes += u128::from(task.bytes);
        assignment.local_bytes += u128::from(local);
        assignment.zone_bytes += u128::from(zone);
    }
    assignment.nodes = placed;
    assignment
}

impl Task {
    /// Its bytes on a node, and in the node's zone.
    pub(crate) fn on(&self, node: usize, nodes: &[NodeSlots]) -> (u64, u64) {
        let local = self.local.get(&node).copied().unwrap_or(0);
        let zone = self.zones.get(&nodes[node].zone).copied().unwrap_or(0);
        (local, zone.max(local))
    }
}

fn solve<I: Whole>(tasks: &[Task], nodes: &[NodeSlots]) -> Vec<Option<usize>> {
    let places = Places::new(nodes);
    let all_fit = tasks.len() as u64 <= places.free_slots();
    let may_fail = !all_fit || tasks.iter().any(|task| task.allowed.is_some());
    let mut seats = Seats::new(places.len());
    let mut choices = Vec::new();
    for task in tasks {
        offer::<I>(task, nodes, &places, &mut choices);
        if may_fail {
            choices.push((places.nowhere(), Cost::nowhere()));
        }
        choices.sort_unstable();
        seats.add_task(&choices);
        choices.clear();
    }

    // By value, since a task that finds its nodes taken then seldom has to move others. What is
    // of equal value is compared in full, so that the order in which tasks are given is no matter.
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_cached_key(|&task| (seats.least_cost(task), &tasks[task]));

    let mut search = Search::new(places, seats);
    for &task in &order {
        search.insert(task);
    }
    let found = search.settle(&order);

    let mut placed = vec![None; tasks.len()];
    for equal in order.chunk_by(|&a, &b| tasks[a] == tasks[b]) {
        let mut theirs: Vec<_> = equal.iter().map(|&task| found[task]).collect();
        theirs.sort_by_key(|node| {
            let held = node.map(|node| tasks[equal[0]].on(node, nodes));
            (Reverse(held), *node)
        });
        for (&task, node) in equal.iter().zip(theirs) {
            placed[task] = node;
        }
    }
    placed
}

/// Where a task may go, and at which cost: nodes by themselves where something tells them apart,
/// and all others by the zone or the whole cluster.
fn offer<I: Whole>(
    task: &Task,
    nodes: &[NodeSlots],
    places: &Places,
    choices: &mut Vec<(usize, Cost<I>)>,
) {
    let mut choice = |place, (local, zone)| choices.push((place, Cost::saving(local, zone)));
    if let Some(allowed) = &task.allowed {
        for &node in allowed {
            choice(node, task.on(node, nodes));
        }
        return;
    }
    for (&node, _) in task.local.iter().filter(|(_, bytes)| **bytes > 0) {
        choice(node, task.on(node, nodes));
    }
    for (&zone, &bytes) in &task.zones {
        if bytes > 0 && zone < places.zones() {
            choice(places.zone(zone), (0, bytes));
        }
    }
    choice(places.cluster(), (0, 0));
}
