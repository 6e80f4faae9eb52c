//! What happened to the orders.

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Answer, Orders, Sample};

/// Numbers of orders and connections so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Orders sent, or tried to.
    pub sent: u64,
    /// Orders with an answer that tells of the stored one.
    pub answered: u64,
    /// All other orders that have come to an end.
    pub failed: u64,
    /// Connections that the application's side closed, or that broke.
    pub connections_closed: u64,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The numbers.
    pub progress: Progress,
    /// Each answered order's latency.
    pub samples: Vec<Sample>,
    /// Each answered order's answer.
    pub answers: Vec<Answer>,
    /// Each failed order.
    pub failures: Vec<Failure>,
    pub(super) start: Option<Instant>,
    pub(super) end: Option<Instant>,
}

impl Outcome {
    /// How many different keys were sent.
    pub fn unique_keys(&self) -> u64 {
        let answered = self.answers.iter().map(|answer| answer.number);
        let failed = self.failures.iter().map(|failure| failure.number);
        let keys: HashSet<_> = answered.chain(failed).map(Orders::key).collect();
        keys.len() as u64
    }

    /// Orders sent in a second, on average.
    pub fn rate(&self) -> f64 {
        let time = match (self.start, self.end) {
            (Some(start), Some(end)) => end - start,
            _ => Duration::ZERO,
        };
        self.progress.sent as f64 / time.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

/// An order without an answer of use.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Its number.
    pub number: u64,
    /// Where it was sent to.
    pub target: SocketAddr,
    /// When it was sent.
    pub sent: Instant,
    /// When it was known to have failed.
    pub failed: Instant,
    /// How it failed.
    pub kind: FailureKind,
    /// In words.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Failure {
            number,
            target,
            kind,
            detail,
            ..
        } = self;
        write!(f, "order {number} to {target}: {kind:?}: {detail}")
    }
}

/// How an order failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// No connection could be opened.
    Connect,
    /// The connection broke, or no answer came in time.
    Connection,
    /// An answer that tells of no stored order.
    Status(u16),
}
