//! How long a supervisor waits before it starts its worker again.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(5);
/// A worker that lived this long was healthy.
const HEALTHY: Duration = Duration::from_secs(10);

/// Back-off of a worker's restarts: none after a healthy life, then 10 ms, doubling to 5 s.
#[derive(Debug, Default)]
pub(crate) struct RestartBackoff {
    crashes: u32,
}

impl RestartBackoff {
    /// The time to wait after a worker that lived for `lived`.
    pub(crate) fn after(&mut self, lived: Duration) -> Duration {
        if lived >= HEALTHY {
            self.crashes = 0;
        }
        let doublings = self.crashes;
        self.crashes = self.crashes.saturating_add(1);
        match doublings {
            0 => Duration::ZERO,
            _ => FIRST
                .saturating_mul(1 << (doublings - 1).min(16))
                .min(LONGEST),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_crash_is_repaired_at_once_and_a_crash_loop_slows_down() {
        let mut backoff = RestartBackoff::default();
        let waits: Vec<_> = (0..12)
            .map(|_| backoff.after(Duration::ZERO).as_millis())
            .collect();
        assert_eq!(
            waits,
            [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000]
        );
        assert_eq!(backoff.after(HEALTHY), Duration::ZERO);
        assert_eq!(backoff.after(Duration::ZERO), FIRST);
    }
}
