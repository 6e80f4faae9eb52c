//! What became of the requests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A request that got no good answer.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) class: &'static str,
    /// When its connection was opened.
    pub(crate) opened: Instant,
    pub(crate) error: String,
}

/// Figures of one class of clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Class {
    pub(crate) answered: u64,
    /// Kept connections that the server closed.
    pub(crate) closed: u64,
    /// From the first byte sent to the answer.
    latencies: Vec<Duration>,
}

#[derive(Debug, Default)]
struct Figures {
    classes: BTreeMap<&'static str, Class>,
    failures: Vec<Failure>,
    /// Errors of connects.
    refused: Vec<String>,
    /// Worker that gave the newest answers, and when each was first and last seen.
    workers: BTreeMap<u32, (Instant, Instant)>,
}

/// Counts requests of all clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<Mutex<Figures>>);

impl Tally {
    pub(crate) fn answered(&self, class: &'static str, worker: u32, begun: Instant) {
        let now = Instant::now();
        let mut figures = self.0.lock();
        let counts = figures.classes.entry(class).or_default();
        counts.answered += 1;
        counts.latencies.push(now - begun);
        figures.workers.entry(worker).or_insert((now, now)).1 = now;
    }

    pub(crate) fn failed(&self, class: &'static str, opened: Instant, error: String) {
        self.0.lock().failures.push(Failure {
            class,
            opened,
            error,
        });
    }

    pub(crate) fn refused(&self, error: String) {
        self.0.lock().refused.push(error);
    }

    pub(crate) fn closed(&self, class: &'static str) {
        self.0.lock().classes.entry(class).or_default().closed += 1;
    }

    pub(crate) fn total(&self) -> u64 {
        let figures = self.0.lock();
        figures.classes.values().map(|class| class.answered).sum()
    }

    /// When a worker gave its first answer.
    pub(crate) fn first_answer(&self, worker: u32) -> Option<Instant> {
        self.0.lock().workers.get(&worker).map(|seen| seen.0)
    }

    /// Every request was answered on the connection on which it was sent, and none was closed.
    #[track_caller]
    pub(crate) fn assert_lossless(&self) {
        let figures = self.0.lock();
        let closed: u64 = figures.classes.values().map(|class| class.closed).sum();
        assert!(
            figures.failures.is_empty() && figures.refused.is_empty() && closed == 0,
            "{figures}"
        );
        assert!(
            !figures.classes.is_empty() && figures.classes.values().all(|class| class.answered > 0),
            "a class had no answer\n{figures}"
        );
    }

    /// Nothing failed but what was open when a worker died, each connection at most once.
    #[track_caller]
    pub(crate) fn assert_lost_only_with(&self, death: Instant) {
        let figures = self.0.lock();
        assert!(
            figures.refused.is_empty()
                && figures
                    .failures
                    .iter()
                    .all(|failure| failure.opened <= death),
            "{figures}"
        );
        let mut connections: Vec<_> = figures.failures.iter().map(|lost| lost.opened).collect();
        connections.sort();
        connections.dedup();
        assert_eq!(connections.len(), figures.failures.len(), "{figures}");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.lock().fmt(f)
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, class) in &self.classes {
            let mut latencies = class.latencies.clone();
            latencies.sort();
            let quantile = |q: usize| latencies.get((latencies.len() - 1) * q / 1000);
            let failed = self.failures.iter().filter(|lost| lost.class == *name);
            writeln!(
                f,
                "{name}: {} answered, {} failed, {} closed; p50 {:.1?}, p99 {:.1?}, longest {:.1?}",
                class.answered,
                failed.count(),
                class.closed,
                quantile(500).unwrap_or(&Duration::ZERO),
                quantile(990).unwrap_or(&Duration::ZERO),
                quantile(1000).unwrap_or(&Duration::ZERO),
            )?;
        }
        for Failure { class, error, .. } in self.failures.iter().take(5) {
            writeln!(f, "{class} failed: {error}")?;
        }
        for error in self.refused.iter().take(5) {
            writeln!(f, "connect failed: {error}")?;
        }
        Ok(())
    }
}
