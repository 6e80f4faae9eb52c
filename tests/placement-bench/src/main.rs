//! The exact assignment beside simpler ones and another solver: time, and bytes read from elsewhere.
//!
//! Prints a Markdown table. All runs on one core, and what is measured is the time of this thread
//! on it, so that other programs on the machine count less. Words as arguments choose
//! the rows whose names contain one of them.

mod greedy;
mod layout;
mod network_simplex;

use std::time::{Duration, Instant};

use layout::{Layout, layouts};
use outrigger_placement::{NodeSlots, Task, assign};
use rustix::time::{ClockId, clock_gettime};

type Placed = Vec<Option<usize>>;
type Solver = fn(&[Task], &[NodeSlots]) -> Placed;

const SOLVERS: [(&str, Solver); 4] = [
    ("exact", exact),
    ("first fit", greedy::first_fit),
    ("least loaded", greedy::least_loaded),
    ("mcmf 2.0", network_simplex::solve),
];
/// A solver runs at least so often, and up to `MANY` times while it is quicker than `ENOUGH`.
const FEW: usize = 3;
const MANY: usize = 11;
const ENOUGH: Duration = Duration::from_secs(2);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    println!(
        "| tasks × nodes | replicas | sizes | solver | ms | least–most | remote | above the optimum | off-zone |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for layout in layouts() {
        let name = layout.row();
        if words.is_empty() || words.iter().any(|word| name.contains(word)) {
            compare(&name, &layout);
        }
    }
}

fn compare(name: &str, layout: &Layout) {
    let Layout { tasks, nodes, .. } = layout;
    let optimum = assign(tasks, nodes).remote_bytes();
    for (solver, solve) in SOLVERS {
        let (placed, mut times) = measured(|| solve(tasks, nodes));
        times.sort();
        let ms = |time: Duration| format!("{:.1}", time.as_secs_f64() * 1000.0);
        let (median, least, most) = (times[times.len() / 2], times[0], times[times.len() - 1]);
        let bytes = layout.bytes(&placed);
        assert!(
            optimum <= bytes.remote,
            "{solver} is better than the optimum: {name}"
        );
        println!(
            "| {name} | {solver} | {} | {}–{} | {} | {} | {} |",
            ms(median),
            ms(least),
            ms(most),
            share(bytes.remote, bytes.all),
            share(bytes.remote - optimum, bytes.all),
            share(bytes.off_zone, bytes.all),
        );
    }
}

fn measured(solve: impl Fn() -> Placed) -> (Placed, Vec<Duration>) {
    let begun = Instant::now();
    let mut times = Vec::new();
    loop {
        let start = thread_time();
        let placed = solve();
        times.push(thread_time() - start);
        let enough = times.len() >= FEW && begun.elapsed() > ENOUGH;
        if enough || times.len() == MANY {
            return (placed, times);
        }
    }
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn share(bytes: u128, all: u128) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ => format!("{:.3} %", bytes as f64 / all as f64 * 100.0),
    }
}

fn exact(tasks: &[Task], nodes: &[NodeSlots]) -> Placed {
    assign(tasks, nodes).nodes
}
