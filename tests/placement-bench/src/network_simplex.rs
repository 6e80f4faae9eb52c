//! The crate `mcmf`: the network simplex of the LEMON graph library, a C++ program.

use mcmf::{Capacity, Cost, GraphBuilder, Vertex};
use outrigger_placement::{NodeSlots, Task};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Task(usize),
    /// Any node, for tasks that read all from elsewhere.
    Any,
    Node(usize),
}

/// Least bytes read from other nodes. Zones do not count.
///
/// Its costs and their sum are of 32 bits. So they are counted in units of which all tasks
/// together read less than 2^31. Equal sizes come out exact, others rounded.
pub fn solve(tasks: &[Task], nodes: &[NodeSlots]) -> Vec<Option<usize>> {
    let largest = tasks.iter().map(|task| task.bytes).max().unwrap_or(1);
    let equal = tasks.iter().all(|task| task.bytes == largest);
    let unit = match equal {
        true => largest,
        false => largest * tasks.len() as u64 / i32::MAX as u64 + 1,
    };
    let cost = |bytes: u64| Cost((bytes / unit) as i32);
    let node = |node| Vertex::Node(Place::Node(node));
    let any = Vertex::Node(Place::Any);
    let all = Capacity(tasks.len() as i32);

    let mut graph = GraphBuilder::new();
    for (index, task) in tasks.iter().enumerate() {
        let this = Vertex::Node(Place::Task(index));
        graph.add_edge(Vertex::Source, this, Capacity(1), Cost(0));
        for (&holder, &bytes) in &task.local {
            graph.add_edge(this, node(holder), Capacity(1), cost(task.bytes - bytes));
        }
        graph.add_edge(this, any, Capacity(1), cost(task.bytes));
    }
    for (index, NodeSlots { slots, .. }) in nodes.iter().enumerate() {
        graph.add_edge(any, node(index), all, Cost(0));
        graph.add_edge(node(index), Vertex::Sink, Capacity(*slots as i32), Cost(0));
    }

    let (_, paths) = graph.mcmf();
    let mut placed = vec![None; tasks.len()];
    for path in paths {
        let mut task = None;
        for vertex in path.vertices() {
            match vertex {
                Vertex::Node(Place::Task(index)) => task = Some(*index),
                Vertex::Node(Place::Node(index)) => {
                    if let Some(task) = task {
                        placed[task] = Some(*index);
                    }
                }
                _ => {}
            }
        }
    }
    placed
}
