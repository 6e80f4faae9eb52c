use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

/// What may be caught up after a pause, in time.
const CATCH_UP: Duration = Duration::from_millis(100);

/// Lets requests through: so many at one time, and so many per second.
#[derive(Debug)]
pub(crate) struct Pace {
    at_once: Semaphore,
    interval: Duration,
    /// When the next request may begin.
    next: Mutex<Instant>,
}

impl Pace {
    pub(crate) fn new(at_once: usize, per_second: u32) -> Pace {
        Pace {
            at_once: Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)),
            interval: Duration::from_secs(1) / per_second.max(1),
            next: Mutex::new(Instant::now()),
        }
    }

    /// Waits for a turn, which lasts until the permit is dropped.
    pub(crate) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        let permit = self.at_once.acquire().await.ok();
        let mine = {
            let mut next = self.next.lock();
            let now = Instant::now();
            let earliest = now.checked_sub(CATCH_UP).unwrap_or(now);
            let mine = (*next).max(earliest);
            *next = mine + self.interval;
            mine
        };
        sleep_until(mine).await;
        permit
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_per_second_are_bounded() {
        let pace = Pace::new(8, 100);
        let start = Instant::now();
        join_all((0..1000).map(|_| async { drop(pace.turn().await) })).await;
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(9_880), "{took:?}");
        assert!(took <= Duration::from_millis(10_010), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_not_caught_up_by_a_burst() {
        let pace = Pace::new(8, 100);
        tokio::time::sleep(Duration::from_secs(3600)).await;
        let start = Instant::now();
        join_all((0..100).map(|_| async { drop(pace.turn().await) })).await;
        assert!(start.elapsed() >= Duration::from_millis(880));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_at_one_time_are_bounded() {
        let pace = Pace::new(2, 1_000_000);
        let first = pace.turn().await;
        let _second = pace.turn().await;
        let third = pace.turn();
        tokio::pin!(third);
        assert!(futures::poll!(&mut third).is_pending());
        drop(first);
        assert!(third.await.is_some());
    }
}
