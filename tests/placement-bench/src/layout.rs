//! Tasks whose bytes are spread over nodes as HDFS spreads them.

use std::collections::BTreeMap;

use fastrand::Rng;
use outrigger_placement::{NodeSlots, Task};

const MIB: u64 = 1 << 20;
const REPLICAS: usize = 3;
const NODES_OF_A_RACK: usize = 25;

/// A problem: the cluster has exactly as many slots as there are tasks.
pub struct Layout {
    pub tasks: Vec<Task>,
    pub nodes: Vec<NodeSlots>,
    replicas: Replicas,
    sizes: Sizes,
}

/// On which nodes the replicas of a block are.
#[derive(Clone, Copy)]
enum Replicas {
    /// On any.
    Uniform,
    /// Half of them on a fifth of the nodes.
    Skewed,
    /// One in one rack, the others in another, as HDFS does by default.
    Racks,
}

#[derive(Clone, Copy)]
enum Sizes {
    /// One block of 128 MiB.
    Equal,
    /// One block of 1 to 1,024 MiB, to the byte.
    Varying,
    /// Four blocks of 1 to 128 MiB.
    FourBlocks,
}

/// Bytes of placed tasks.
#[derive(Default)]
pub struct Bytes {
    pub all: u128,
    pub remote: u128,
    pub off_zone: u128,
}

/// All problems, always the same.
pub fn layouts() -> impl Iterator<Item = Layout> {
    let sizes = [(10_000, 100), (10_000, 1_000), (50_000, 1_000)];
    let kinds = [
        (Replicas::Uniform, Sizes::Equal),
        (Replicas::Uniform, Sizes::Varying),
        (Replicas::Skewed, Sizes::Equal),
        (Replicas::Skewed, Sizes::Varying),
        (Replicas::Racks, Sizes::Varying),
        (Replicas::Skewed, Sizes::FourBlocks),
    ];
    let all = sizes.into_iter().flat_map(move |(tasks, nodes)| {
        kinds.map(|(replicas, sizes)| (tasks, nodes, replicas, sizes))
    });
    all.map(|(tasks, nodes, replicas, sizes)| Layout::new(tasks, nodes, replicas, sizes))
}

impl Layout {
    fn new(tasks: usize, nodes: usize, replicas: Replicas, sizes: Sizes) -> Self {
        let mut rng = Rng::with_seed(7);
        let node = |index| NodeSlots {
            slots: (tasks / nodes) as u32,
            zone: match replicas {
                Replicas::Racks => index / NODES_OF_A_RACK,
                _ => 0,
            },
        };
        let nodes: Vec<_> = (0..nodes).map(node).collect();
        let task = |_| task(&mut rng, &nodes, replicas, sizes);
        Self {
            tasks: (0..tasks).map(task).collect(),
            nodes,
            replicas,
            sizes,
        }
    }

    /// The first cells of its row.
    pub fn row(&self) -> String {
        let replicas = match self.replicas {
            Replicas::Uniform => "uniform",
            Replicas::Skewed => "skewed",
            Replicas::Racks => "in two racks",
        };
        let sizes = match self.sizes {
            Sizes::Equal => "equal",
            Sizes::Varying => "varying",
            Sizes::FourBlocks => "four blocks",
        };
        let (tasks, nodes) = (thousands(self.tasks.len()), thousands(self.nodes.len()));
        format!("{tasks} × {nodes} | {replicas} | {sizes}")
    }

    /// What an assignment makes tasks read.
    pub fn bytes(&self, placed: &[Option<usize>]) -> Bytes {
        let mut bytes = Bytes::default();
        let mut used = vec![0; self.nodes.len()];
        for (task, node) in self.tasks.iter().zip(placed) {
            let node = node.expect("there is a slot for every task");
            used[node] += 1;
            let local = task.local.get(&node).copied().unwrap_or(0);
            let zone = task.zones.get(&self.nodes[node].zone).copied().unwrap_or(0);
            bytes.all += u128::from(task.bytes);
            bytes.remote += u128::from(task.bytes - local);
            bytes.off_zone += u128::from(task.bytes - zone);
        }
        let fits = |(used, node): (&u32, &NodeSlots)| *used <= node.slots;
        assert!(
            used.iter().zip(&self.nodes).all(fits),
            "a node has too many"
        );
        bytes
    }
}

fn task(rng: &mut Rng, nodes: &[NodeSlots], replicas: Replicas, sizes: Sizes) -> Task {
    let blocks = match sizes {
        Sizes::Equal => vec![128 * MIB],
        Sizes::Varying => vec![rng.u64(MIB..=1024 * MIB)],
        Sizes::FourBlocks => (0..4).map(|_| rng.u64(MIB..=128 * MIB)).collect(),
    };
    let mut task = Task {
        bytes: blocks.iter().sum(),
        ..Task::default()
    };
    for bytes in blocks {
        let holders = holders(rng, nodes.len(), replicas);
        let zones: BTreeMap<usize, ()> = holders.iter().map(|&n| (nodes[n].zone, ())).collect();
        for node in holders {
            *task.local.entry(node).or_default() += bytes;
        }
        for zone in zones.into_keys() {
            *task.zones.entry(zone).or_default() += bytes;
        }
    }
    task
}

/// Different nodes.
fn holders(rng: &mut Rng, nodes: usize, replicas: Replicas) -> Vec<usize> {
    let mut holders: Vec<usize> = Vec::new();
    while holders.len() < REPLICAS {
        let node = match replicas {
            Replicas::Uniform => rng.usize(..nodes),
            Replicas::Skewed if rng.bool() => rng.usize(..nodes / 5),
            Replicas::Skewed => rng.usize(nodes / 5..nodes),
            Replicas::Racks => {
                let node = rng.usize(..nodes);
                let rack = |node: usize| node / NODES_OF_A_RACK;
                let fits = match holders[..] {
                    [] => true,
                    [first] => rack(first) != rack(node),
                    [.., last] => rack(last) == rack(node),
                };
                if !fits {
                    continue;
                }
                node
            }
        };
        if !holders.contains(&node) {
            holders.push(node);
        }
    }
    holders
}

fn thousands(number: usize) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", number / 1000, number % 1000),
    }
}
