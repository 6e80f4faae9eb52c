//! The figures as a page: a part of `docs/benchmarks/swap.md`, between two marks.

mod parts;
mod rows;

use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::{Figures, FleetFigures, KillFigures, Quantiles, ROWS, TenantFigures, WayFigures};

const BEGIN: &str = "<!-- Written by `make bench-swap`: begin -->";
const END: &str = "<!-- Written by `make bench-swap`: end -->";

/// Everything that was measured; parts that were not are absent.
#[derive(Debug, Default)]
pub struct Results {
    /// The rows, in order.
    pub rows: Vec<Figures>,
    /// Kills of the worker.
    pub workers: Option<KillFigures>,
    /// Kills of process 1.
    pub slots: Option<KillFigures>,
    /// The ways side by side.
    pub ways: Vec<WayFigures>,
    /// The rollouts over many pods.
    pub fleet: Option<FleetFigures>,
    /// Two applications that share a function pod.
    pub tenants: Option<TenantFigures>,
}

impl Results {
    /// Reads the files that parts have left in a directory.
    ///
    /// # Errors
    /// When one is not as it is written.
    pub fn read(directory: &Path) -> anyhow::Result<Results> {
        let mut rows = Vec::new();
        for row in &ROWS {
            rows.extend(read(directory, row.name)?);
        }
        Ok(Results {
            rows,
            workers: read(directory, "killed-workers")?,
            slots: read(directory, "killed-slots")?,
            ways: read(directory, "side-by-side")?.unwrap_or_default(),
            fleet: read(directory, "fleet")?,
            tenants: read(directory, "tenants")?,
        })
    }

    /// The text between the marks.
    pub fn text(&self, machine: &str) -> String {
        let mut text = String::new();
        self.loads(&mut text, machine);
        self.kills(&mut text);
        self.side_by_side(&mut text);
        self.rollouts(&mut text);
        self.sharing(&mut text);
        text
    }
}

fn read<T: DeserializeOwned>(directory: &Path, name: &str) -> anyhow::Result<Option<T>> {
    let file = directory.join(format!("swap-{name}.json"));
    let text = match std::fs::read(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| format!("cannot read {}", file.display()))?,
    };
    let found = serde_json::from_slice(&text);
    found.with_context(|| format!("{} is of another version", file.display()))
}

fn cells(quantiles: Quantiles) -> String {
    let Quantiles { p50, p99, max, .. } = quantiles;
    format!("{p50:.2} | {p99:.1} | {max:.0}")
}

fn median_and_most(milliseconds: impl Iterator<Item = u64>) -> String {
    let mut sorted: Vec<_> = milliseconds.collect();
    sorted.sort_unstable();
    let seconds = |at: Option<&u64>| at.copied().unwrap_or_default() as f64 / 1e3;
    let median = seconds(sorted.get(sorted.len() / 2));
    format!("{median:.2}, {:.2}", seconds(sorted.last()))
}

/// What this machine is.
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|total| total.trim().trim_end_matches(" kB").parse().ok());
    let gibibytes = kibibytes.unwrap_or(0_u64) as f64 / f64::from(1 << 20);
    format!("one machine with {cores} cores and {gibibytes:.0} GiB of memory")
}

/// Puts a text between the marks of a page, in place of what is there.
///
/// # Errors
/// When the page has no marks.
pub fn place(page: &str, text: &str) -> anyhow::Result<String> {
    let (before, rest) = page.split_once(BEGIN).context("no mark of the begin")?;
    let (_, after) = rest.split_once(END).context("no mark of the end")?;
    Ok(format!(
        "{before}{BEGIN}\n\n{}\n\n{END}{after}",
        text.trim()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use outrigger_bench::ledger::Verdict;

    use super::*;
    use crate::bench::Latencies;

    #[test]
    fn a_text_is_placed_between_the_marks_again_and_again() {
        let page = format!("one\n{BEGIN}\nold\n{END}\ntwo\n");
        let placed = place(&page, "new\n").unwrap();
        assert!(placed.starts_with("one\n") && placed.ends_with("two\n"));
        assert!(placed.contains("\nnew\n") && !placed.contains("old"));
        assert_eq!(place(&placed, "new").unwrap(), placed);
        assert!(place("no marks", "new").is_err());
    }

    #[test]
    fn what_was_not_measured_is_not_told_and_a_missed_goal_is() {
        let quantiles = |p99| Quantiles {
            count: 1,
            p50: 1.0,
            p99,
            max: p99,
        };
        let row = Figures {
            row: "keep-alive".to_owned(),
            rate: 2000.0,
            sent: 10,
            answered: 10,
            failed: 0,
            resent: 0,
            verdict: Verdict::default(),
            closed: 0,
            primary_restarts: 0,
            ready_transitions: 0,
            endpoint_slice_writes: 0,
            latency_ms: Latencies {
                outside: quantiles(2.0),
                inside: quantiles(9.1),
                ..Latencies::default()
            },
            swaps: Vec::new(),
            failures: Vec::new(),
        };
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("swap-keep-alive.json");
        std::fs::write(file, serde_json::to_string(&row).unwrap()).unwrap();
        let text = Results::read(directory.path()).unwrap().text("a machine");
        assert!(text.contains("| keep-alive | 1.00 | 2.0 | 2 | 1.00 | 9.1 | 9 | 9.0: missed |"));
        assert!(!text.contains("kill -9") && !text.contains("Side by side"));
    }
}
