//! Log lines about a store that fails: one when it begins, one now and then, one when it ends.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::store::{Kind, StoreError};

/// While the same failure goes on, it is told this often.
const REPEAT_AFTER: Duration = Duration::from_secs(10);

/// What has been logged, so that an outage under load does not fill the log.
#[derive(Default)]
pub(crate) struct Failures {
    current: Mutex<Option<Current>>,
}

struct Current {
    kind: Kind,
    told: Instant,
    untold: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Line {
    None,
    /// With the number of failures since the last line.
    Failed(u64),
}

impl Failures {
    /// The store failed a request.
    pub(crate) fn failed(&self, function: &str, error: &StoreError, traceparent: Option<&str>) {
        if let Line::Failed(untold) = self.note(error.kind, Instant::now()) {
            tracing::error!(
                function,
                kind = error.kind.as_str(),
                error = error.message,
                traceparent,
                untold,
                "The store failed"
            );
        }
    }

    /// The store did what it was asked to.
    pub(crate) fn succeeded(&self, function: &str) {
        if let Some(ended) = self.current.lock().take() {
            tracing::info!(
                function,
                kind = ended.kind.as_str(),
                untold = ended.untold,
                "The store works again"
            );
        }
    }

    fn note(&self, kind: Kind, now: Instant) -> Line {
        let mut current = self.current.lock();
        match current.as_mut() {
            Some(known) if known.kind == kind && now.duration_since(known.told) < REPEAT_AFTER => {
                known.untold += 1;
                Line::None
            }
            known => {
                let untold = known.map_or(0, |known| known.untold);
                *current = Some(Current {
                    kind,
                    told: now,
                    untold: 0,
                });
                Line::Failed(untold)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_at_its_begin_now_and_then_and_when_it_changes() {
        let failures = Failures::default();
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(failures.note(Kind::Unreachable, at(0)), Line::Failed(0));
        assert_eq!(failures.note(Kind::Unreachable, at(1)), Line::None);
        assert_eq!(failures.note(Kind::Unreachable, at(9)), Line::None);
        assert_eq!(failures.note(Kind::Unreachable, at(10)), Line::Failed(2));
        assert_eq!(failures.note(Kind::DiskFull, at(11)), Line::Failed(0));
        failures.succeeded("orders");
        assert_eq!(failures.note(Kind::DiskFull, at(12)), Line::Failed(0));
    }
}
