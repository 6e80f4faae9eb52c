//! The rows: counts, latencies and times of swaps, a table each.

use std::fmt::Write;

use super::{Results, cells, median_and_most};
use crate::swap::PHASES;

impl Results {
    /// Writes what the rows came to, on a machine of this description.
    pub(super) fn loads(&self, text: &mut String, machine: &str) {
        let swaps = self.rows.iter().map(|row| row.swaps.len()).max();
        let swaps = swaps.unwrap_or_default();
        let _ = writeln!(
            text,
            "## Shapes of load\n\n`make bench-swap SWAPS={swaps}`, on {machine}, which holds the whole \
             cluster and the load. `ROWS=WORD` runs the parts with the word in their names.\n"
        );
        self.counts(text);
        self.latencies(text);
        self.phases(text);
    }

    fn counts(&self, text: &mut String) {
        text.push_str(
            "Requests come in an open loop from the pod's own container. Each has an id that the \
             function writes to a ledger: *lost* was answered and is not there, *duplicated* is there \
             twice. *Closed* are connections that the sidecar closed; in HTTP/2 a swap moves clients \
             by GOAWAY, after which they open another connection. *Resent* are requests that the \
             server says it has not begun, by GOAWAY or by a reset of the stream, and those that GOAWAY \
             kept from leaving the client: these and no others are sent again over the next connection, \
             at most twice, and count each time (RFC 9113, sections 6.8 and 8.7). *Restarts* are those of the \
             application's container.\n\n\
             In the row upgraded a request is a message on one of 160 connections after an `Upgrade`, \
             two at a time, the first in two parts. An answer counts if it comes in its turn and has \
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
}
