//! Figures of a run, from every single sample.

use std::collections::BTreeMap;

use outrigger_bench::ledger::Verdict;
use outrigger_bench::record::Sample;
use serde::{Deserialize, Serialize};

use crate::report::SwapTimes;

/// A time span in nanoseconds since 1970, with its name.
#[derive(Clone, Debug)]
pub struct Window {
    /// The phase, or `Other`.
    pub name: String,
    /// Its beginning.
    pub begin_ns: u64,
    /// Its end.
    pub end_ns: u64,
}

/// Latencies in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many requests.
    pub count: usize,
    /// Half of them were answered within this time.
    pub p50: f64,
    /// 99 of 100 were.
    pub p99: f64,
    /// All were.
    pub max: f64,
}

/// Latencies between swaps, during swaps, and in each phase of swaps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// Between swaps.
    pub outside: Quantiles,
    /// During swaps.
    pub inside: Quantiles,
    /// During each phase.
    pub phases: BTreeMap<String, Quantiles>,
}

/// What a row shows.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// Name of the row.
    pub row: String,
    /// Requests in a second that were sent.
    pub rate: f64,
    /// Requests that were sent.
    pub sent: u64,
    /// Those that were answered rightly.
    pub answered: u64,
    /// Those that were not.
    pub failed: u64,
    /// Requests that were sent again, since the sidecar had refused them unread.
    #[serde(default)]
    pub resent: u64,
    /// By the ids in the ledger.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Connections that the sidecar closed.
    pub closed: u64,
    /// Restarts of the load's container, which stands for the application.
    pub primary_restarts: u64,
    /// Changes of the pod's condition Ready.
    pub ready_transitions: u64,
    /// Writes of EndpointSlices of the application's Service.
    pub endpoint_slice_writes: u64,
    /// Latencies in milliseconds.
    pub latency_ms: Latencies,
    /// The swaps.
    pub swaps: Vec<SwapTimes>,
    /// The first failures in words.
    pub failures: Vec<String>,
}

impl Figures {
    /// Whether nothing was lost, closed or disturbed.
    pub fn is_good(&self) -> bool {
        // What moves clients of HTTP/2 is that they open another connection.
        let closed = match self.row.as_str() {
            "http2" => 0,
            _ => self.closed,
        };
        self.sent == self.answered
            && [
                self.failed,
                self.verdict.lost,
                self.verdict.duplicated,
                closed,
                self.primary_restarts,
                self.ready_transitions,
                self.endpoint_slice_writes,
            ] == [0; 7]
    }
}

impl Quantiles {
    pub(super) fn of(latencies: impl Iterator<Item = u64>) -> Quantiles {
        let mut sorted: Vec<_> = latencies.collect();
        sorted.sort_unstable();
        let at = |part: f64| {
            let rank = (sorted.len() as f64 * part).ceil() as usize;
            let found = sorted.get(rank.saturating_sub(1)).copied();
            (found.unwrap_or_default() as f64 / 1e3).round() / 1e3
        };
        Quantiles {
            count: sorted.len(),
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

impl Latencies {
    /// Puts each sample into the window in which it was due. Windows do not overlap, and are in
    /// order.
    pub fn of(samples: &[Sample], windows: &[Window]) -> Latencies {
        let window = |sample: &Sample| {
            let after = windows.partition_point(|window| window.end_ns < sample.due_ns);
            windows
                .get(after)
                .filter(|window| window.begin_ns <= sample.due_ns)
        };
        let mut phases: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        let (mut inside, mut outside) = (Vec::new(), Vec::new());
        for sample in samples {
            match window(sample) {
                Some(window) => {
                    inside.push(sample.latency_ns);
                    let phase = phases.entry(window.name.clone()).or_default();
                    phase.push(sample.latency_ns);
                }
                None => outside.push(sample.latency_ns),
            }
        }
        let phases = phases.into_iter();
        Latencies {
            outside: Quantiles::of(outside.into_iter()),
            inside: Quantiles::of(inside.into_iter()),
            phases: phases
                .map(|(name, found)| (name, Quantiles::of(found.into_iter())))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_for_the_window_in_which_it_was_due() {
        let ms = 1_000_000;
        let samples: Vec<_> = (0..=100)
            .map(|at| Sample {
                due_ns: at * ms,
                latency_ns: (at + 1) * ms,
            })
            .collect();
        let window = |name: &str, begin: u64, end: u64| Window {
            name: name.to_owned(),
            begin_ns: begin * ms,
            end_ns: end * ms,
        };
        let found = Latencies::of(&samples, &[window("Warm", 10, 19), window("Soak", 20, 29)]);
        assert_eq!((found.inside.count, found.outside.count), (20, 81));
        assert_eq!((found.inside.p50, found.inside.max), (20.0, 30.0));
        assert_eq!(found.phases["Warm"].max, 20.0);
        assert_eq!(found.phases["Soak"].p50, 25.0);
        assert_eq!(found.outside.p99, 101.0);
    }
}
