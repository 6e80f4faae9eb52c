//! Latencies and their percentiles.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde::Serialize;

/// One answered order.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Where it was sent to.
    pub target: SocketAddr,
    /// When the order was due.
    pub due: Instant,
    /// From then to the end of its answer.
    pub latency: Duration,
}

impl Sample {
    /// When the answer had come.
    pub fn answered(&self) -> Instant {
        self.due + self.latency
    }
}

/// Percentiles in milliseconds; all 0 when there is no sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the orders were answered within this time.
    pub p50: f64,
    /// 99 of 100 orders were.
    pub p99: f64,
    /// All were.
    pub max: f64,
}

impl Latency {
    /// Of samples in any order.
    pub fn of(samples: impl IntoIterator<Item = Sample>) -> Latency {
        let mut latencies: Vec<_> = samples.into_iter().map(|sample| sample.latency).collect();
        latencies.sort_unstable();
        let at = |part: f64| {
            let last = latencies.len().saturating_sub(1);
            let rank = (latencies.len() as f64 * part).ceil() as usize;
            let latency = latencies.get(rank.saturating_sub(1).min(last));
            let ms = latency.copied().unwrap_or_default().as_secs_f64() * 1e3;
            (ms * 1e3).round() / 1e3
        };
        Latency {
            p50: at(0.5),
            p99: at(0.99),
            max: at(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_seen() {
        let due = Instant::now();
        let samples = (1..=200).rev().map(|ms| Sample {
            target: SocketAddr::from(([127, 0, 0, 1], 80)),
            due,
            latency: Duration::from_millis(ms),
        });
        let found = Latency::of(samples);
        assert_eq!((found.p50, found.p99, found.max), (100.0, 198.0, 200.0));
        assert_eq!(Latency::of([]), Latency::default());
    }
}
