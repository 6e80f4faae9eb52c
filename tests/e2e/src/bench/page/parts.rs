//! What else is tried with the load of a row: kills, other ways side by side, many pods, and two
//! applications of one function pod.

use std::fmt::Write;

use super::{Results, cells, median_and_most};
use crate::bench::Replacement;

impl Results {
    pub(super) fn kills(&self, text: &mut String) {
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

    pub(super) fn side_by_side(&self, text: &mut String) {
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

    pub(super) fn rollouts(&self, text: &mut String) {
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

    pub(super) fn sharing(&self, text: &mut String) {
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
