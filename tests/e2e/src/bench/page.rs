//! The figures as a page: a part of `docs/benchmarks/swap.md`, between two marks.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde::de::DeserializeOwned;

use super::{
    Figures, FleetFigures, KillFigures, Quantiles, ROWS, Replacement, TenantFigures, WayFigures,
};
use crate::swap::PHASES;

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
        let swaps = self.rows.iter().map(|row| row.swaps.len()).max();
        let swaps = swaps.unwrap_or_default();
        let _ = writeln!(
            text,
            "## Shapes of load\n\n`make bench-swap SWAPS={swaps}`, on {machine}, which holds the whole \
             cluster and the load. `ROWS=WORD` runs the parts with the word in their names.\n"
        );
        self.counts(&mut text);
        self.latencies(&mut text);
        self.phases(&mut text);
        self.kills(&mut text);
        self.side_by_side(&mut text);
        self.rollouts(&mut text);
        self.sharing(&mut text);
        text
    }

    fn counts(&self, text: &mut String) {
        text.push_str(
            "Requests come in an open loop from the pod's own container. Each has an id that the \
             function writes to a ledger: *lost* was answered and is not there, *duplicated* is there \
             twice. *Closed* are connections that the sidecar closed; in HTTP/2 a swap moves clients \
             by GOAWAY, after which they open another connection. *Resent* are requests that it met on \
             their way and that the server says it has not begun: those and no others are sent again \
             over the next connection (RFC 9113, section 6.8). *Restarts* are those of the \
             application's container.\n\n\
             In the row upgraded a request is a message on one of 160 connections after an `Upgrade`, \
             two at a time, the second in two parts. An answer counts if it comes in its turn and has \
             the number of the message and the count of messages on this connection, which moves with \
             it. In the row exclusive the function also gives each request a number from a count in \
             memory that only one worker has; one that is missing at the end counts as lost, one that \
             was given twice as duplicated.\n\n\
             | row | swaps | requests/s | requests | failed | resent | lost | duplicated | closed | restarts | Ready changes | EndpointSlice writes |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                row.row,
                row.swaps.len(),
                row.rate,
                row.sent,
                row.failed,
                row.resent,
                row.verdict.lost,
                row.verdict.duplicated,
                row.closed,
                row.primary_restarts,
                row.ready_transitions,
                row.endpoint_slice_writes,
            );
        }
    }

    fn latencies(&self, text: &mut String) {
        text.push_str(
            "\nLatency in ms, from the moment at which a request was due. A swap reaches from the \
             patch of the IntegrationSidecar until both slots have the new image: pull, preflight \
             and start of containers are on the same cores. The goal is a p99 during swaps of at most \
             2 × the other + 5 ms.\n\n\
             | row | between swaps: p50 | p99 | max | during swaps: p50 | p99 | max | goal |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for row in &self.rows {
            let (outside, inside) = (row.latency_ms.outside, row.latency_ms.inside);
            let goal = 2.0 * outside.p99 + 5.0;
            let holds = match inside.p99 <= goal {
                true => "holds",
                false => "missed",
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {goal:.1}: {holds} |",
                row.row,
                cells(outside),
                cells(inside)
            );
        }
        text.push_str("\nThe p99 in each phase:\n\n| row |");
        for phase in PHASES {
            let _ = write!(text, " {phase} |");
        }
        text.push_str("\n|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let _ = write!(text, "| {} |", row.row);
            for phase in PHASES {
                let found = row.latency_ms.phases.get(phase);
                let found = found.copied().unwrap_or_default();
                let _ = write!(text, " {:.1} |", found.p99);
            }
            text.push('\n');
        }
    }

    fn phases(&self, text: &mut String) {
        text.push_str("\nTime of a swap in seconds, median and most:\n\n| row | total |");
        for phase in PHASES {
            let _ = write!(text, " {phase} |");
        }
        text.push_str("\n|---|---|---|---|---|---|---|---|\n");
        for row in &self.rows {
            let totals = row.swaps.iter().map(|swap| swap.total_ms);
            let _ = write!(text, "| {} | {} |", row.row, median_and_most(totals));
            for phase in PHASES {
                let times = row.swaps.iter();
                let times = times.map(|swap| swap.phases_ms.get(phase).copied().unwrap_or(0));
                let _ = write!(text, " {} |", median_and_most(times));
            }
            text.push('\n');
        }
    }

    fn kills(&self, text: &mut String) {
        if self.workers.is_none() && self.slots.is_none() {
            return;
        }
        text.push_str(
            "\n## `kill -9`\n\nThe load is that of the row keep-alive. A failure belongs to a kill if \
             the request was sent before the next answer and was not over before the kill; the goal \
             is an answer within 50 ms.\n\n\
             | killed | kills | requests/s | requests | failed | of them of no kill | failed connects | lost | duplicated | next answer after, ms: median, most | Ready changes | not Ready, s |\n\
             |---|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let kinds = [
            ("the active worker", &self.workers),
            (
                "process 1 of the active slot, each time of a fresh pod",
                &self.slots,
            ),
        ];
        for (name, figures) in kinds {
            let Some(figures) = figures else { continue };
            let of_kills: u64 = figures.kills.iter().map(|kill| kill.failed).sum();
            let mut next: Vec<_> = figures
                .kills
                .iter()
                .map(|kill| kill.next_answer_ms)
                .collect();
            next.sort_by(f64::total_cmp);
            let unready = figures.kills.iter().filter_map(|kill| kill.unready_ms);
            let unready: Vec<_> = unready.map(|ms| format!("{:.1}", ms / 1e3)).collect();
            let _ = writeln!(
                text,
                "| {name} | {} | {:.0} | {} | {} | {} | {} | {} | {} | {:.1}, {:.1} | {} | {} |",
                figures.kills.len(),
                figures.rate,
                figures.sent,
                of_kills + figures.unexplained,
                figures.unexplained,
                figures.connect_errors,
                figures.verdict.lost,
                figures.verdict.duplicated,
                next.get(next.len() / 2).copied().unwrap_or_default(),
                next.last().copied().unwrap_or_default(),
                figures.ready_transitions,
                match unready.is_empty() {
                    true => "never".to_owned(),
                    false => unready.join(", "),
                },
            );
        }
    }

    fn side_by_side(&self, text: &mut String) {
        if self.ways.is_empty() {
            return;
        }
        text.push_str(
            "\n## Side by side\n\nThe same function, load and versions in four ways. The load keeps \
             32 connections, and every tenth request has a connection of its own. *Passing the listener* is \
             what proxies do that restart themselves: the new process gets the listening socket, and \
             the former one closes idle connections at once and the others after their answers; here \
             in two containers that are patched in turn. *Patch in place* changes the image of the \
             one container, which ends its connections at SIGTERM in the same way. A *rolling restart* \
             ends the application too, so its load comes from another pod through the Service of two \
             replicas, with readiness probes and 3 s of `preStop`; its times are those of two pods. \
             Memory is the most that all processes of the sidecar had together, over all pods.\n\n\
             | way | new versions | requests/s | requests | failed | closed connections | longest time without an answer, ms | application restarts | Ready changes | memory, MiB | s each: median, most |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for way in &self.ways {
            let name = match way.way {
                Replacement::HotSwap => "Outrigger",
                Replacement::PassListener => "passing the listener",
                Replacement::InPlace => "patch in place",
                Replacement::Restart => "rolling restart",
            };
            let times = way.seconds.iter().map(|seconds| (seconds * 1e3) as u64);
            let _ = writeln!(
                text,
                "| {name} | {} | {:.0} | {} | {} | {} | {:.0} | {} | {} | {:.1} | {} |",
                way.swaps,
                way.rate,
                way.sent,
                way.failed,
                way.closed,
                way.longest_gap_ms,
                way.application_restarts,
                way.ready_transitions,
                way.peak_memory_mib,
                median_and_most(times),
            );
        }
    }

    fn rollouts(&self, text: &mut String) {
        let Some(fleet) = &self.fleet else { return };
        let _ = writeln!(
            text,
            "\n## Many pods\n\nA rollout over {} pods on four nodes with `maxUnavailable: {}%`, first \
             of a good image, then of one whose worker aborts 20 s after each start, with a soak of \
             60 s. The second one stops and is taken back by itself; its time is until all pods have \
             the good image again.\n\n\
             | image | time, s | pods in a swap | the most at one time | Ready changes | application restarts |\n\
             |---|---|---|---|---|---|",
            fleet.pods, fleet.max_unavailable
        );
        for (name, rollout) in [("good", fleet.good), ("bad", fleet.bad)] {
            let _ = writeln!(
                text,
                "| {name} | {:.1} | {} | {} | {} | {} |",
                rollout.seconds,
                rollout.touched,
                rollout.most_at_once,
                rollout.ready_transitions,
                rollout.primary_restarts
            );
        }
    }

    fn sharing(&self, text: &mut String) {
        let Some(tenants) = &self.tenants else { return };
        let _ = writeln!(
            text,
            "\n## Two applications of one function pod\n\nOne sends {} requests/s without a break. In \
             every second window of 5 s the other one sends {:.0}/s, ten times its share; {:.0}/s of \
             them are answered, the others get 429.\n\n\
             | latency of the first, ms | p50 | p99 | max |\n|---|---|---|---|\n\
             | alone | {} |\n| with the other | {} |\n\n\
             The p99 is {:.2} times that without the other (goal: 1.5); by pairs of windows {:.2} to \
             {:.2}. {} of its requests failed.",
            tenants.share,
            tenants.greedy_rate,
            tenants.greedy_answered,
            cells(tenants.alone),
            cells(tenants.with),
            tenants.ratio(),
            tenants.ratios.first().copied().unwrap_or_default(),
            tenants.ratios.last().copied().unwrap_or_default(),
            tenants.failed,
        );
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
