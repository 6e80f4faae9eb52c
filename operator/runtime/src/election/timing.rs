use std::time::Duration;

/// The durations of an election, all of them shares of the Lease's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    duration: Duration,
}

impl Default for Timing {
    /// A Lease of 15 s, as common in Kubernetes.
    fn default() -> Timing {
        Timing::lasting(15)
    }
}

impl Timing {
    /// With a Lease of so many seconds.
    pub fn lasting(seconds: u16) -> Timing {
        Timing {
            duration: Duration::from_secs(seconds.max(1).into()),
        }
    }

    /// How long others leave an unchanged Lease alone.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// A holder that could not renew for so long is told to stop.
    pub fn renew_within(&self) -> Duration {
        self.duration * 10 / 15
    }

    /// How long the holder's work may take to stop. What is left of the duration covers clocks that
    /// run at different speeds.
    pub fn stop_within(&self) -> Duration {
        self.duration * 4 / 15
    }

    /// How often the holder renews and the others look.
    pub(crate) fn retry(&self) -> Duration {
        self.duration * 2 / 15
    }

    /// How long one request may take.
    pub(crate) fn request(&self) -> Duration {
        self.duration * 3 / 15
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_has_stopped_before_others_take_over() {
        for seconds in [0, 1, 2, 15, u16::MAX] {
            let timing = Timing::lasting(seconds);
            let stopped = timing.renew_within() + timing.stop_within();
            assert!(stopped < timing.duration(), "{seconds} s");
            assert!(timing.retry() + timing.request() < timing.renew_within());
        }
    }
}
