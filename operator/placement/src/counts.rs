//! Counts per node for replicas.

/// A node that holds data.
pub(crate) struct Node {
    pub(crate) bytes: u64,
    pub(crate) slots: u32,
    pub(crate) occupied: u32,
}

/// How many replicas each node is to have, those that are there included.
pub(crate) fn spread(nodes: &[Node], wanted: u32, max_skew: u32) -> Vec<u32> {
    let mut counts: Vec<u32> = nodes.iter().map(|node| node.occupied).collect();
    let mut total: u32 = counts.iter().sum();
    while total < wanted {
        let open = |i: &usize| counts[*i] - nodes[*i].occupied < nodes[*i].slots;
        let least = (0..nodes.len()).filter(open).map(|i| counts[i]).min();
        let Some(least) = least else { break };
        let mut best: Option<usize> = None;
        for i in (0..nodes.len()).filter(open) {
            if counts[i] + 1 - least <= max_skew
                && best.is_none_or(|b| nodes[i].bytes > nodes[b].bytes)
            {
                best = Some(i);
            }
        }
        let Some(best) = best else { break };
        counts[best] += 1;
        total += 1;
    }
    counts
}
