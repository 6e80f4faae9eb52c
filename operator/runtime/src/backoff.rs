use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;

/// How long to wait after failures in a row: doubled with each, up to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// At most.
    pub limit: Duration,
}

impl Default for Backoff {
    /// From 1 s to 5 minutes.
    fn default() -> Backoff {
        Backoff {
            first: Duration::from_secs(1),
            limit: Duration::from_secs(300),
        }
    }
}

impl Backoff {
    /// The pause after the given number of failures in a row. `jitter`, from 0 to 1, shortens it by
    /// up to a fifth, so that what failed together does not come back together.
    pub fn pause(&self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.first.saturating_mul(1 << doublings).min(self.limit);
        whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 5.0)
    }
}

/// The failures in a row of each object. An object without failures takes no memory.
///
/// The key should hold the object's UID: a namesake that was created anew starts afresh.
#[derive(Debug)]
pub struct Backoffs<K> {
    backoff: Backoff,
    failures: Mutex<HashMap<K, u32>>,
}

impl<K: Eq + Hash> Backoffs<K> {
    /// None failed yet.
    pub fn new(backoff: Backoff) -> Backoffs<K> {
        Backoffs {
            backoff,
            failures: Mutex::default(),
        }
    }

    /// Counts a failure and says how long to wait before the next try.
    pub fn failed(&self, key: K) -> Duration {
        let mut failures = self.failures.lock();
        let count = failures.entry(key).or_default();
        *count = count.saturating_add(1);
        self.backoff.pause(*count, fastrand::f64())
    }

    /// Forgets the failures of an object that succeeded, or that is gone.
    pub fn reset(&self, key: &K) {
        self.failures.lock().remove(key);
    }

    /// How many objects failed at their last try.
    pub fn failing(&self) -> usize {
        self.failures.lock().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_pause_up_to_the_limit() {
        let backoff = Backoff::default();
        let pauses: Vec<u64> = (1..=11)
            .map(|failures| backoff.pause(failures, 0.0).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.pause(u32::MAX, 0.0), backoff.limit);
    }

    #[test]
    fn jitter_shortens_a_pause_by_a_fifth_at_most() {
        let backoff = Backoff::default();
        assert_eq!(backoff.pause(1, 1.0), Duration::from_millis(800));
        assert_eq!(backoff.pause(1, 0.5), Duration::from_millis(900));
        assert_eq!(backoff.pause(1, f64::INFINITY), Duration::from_millis(800));
        for _ in 0..100 {
            let pause = Backoffs::new(backoff).failed("orders");
            assert!((800..=1000).contains(&pause.as_millis()), "{pause:?}");
        }
    }

    #[test]
    fn objects_fail_apart_and_success_starts_afresh() {
        let still = Backoff {
            first: Duration::from_secs(10),
            limit: Duration::from_secs(40),
        };
        let backoffs = Backoffs::new(still);
        let seconds = |key| backoffs.failed(key).as_secs_f64();
        assert!(seconds("orders") <= 10.0);
        assert!(seconds("orders") > 10.0);
        assert!(seconds("shop") <= 10.0);
        assert_eq!(backoffs.failing(), 2);
        backoffs.reset(&"orders");
        assert_eq!(backoffs.failing(), 1);
        assert!(seconds("orders") <= 10.0);
    }
}
