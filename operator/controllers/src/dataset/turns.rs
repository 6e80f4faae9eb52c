//! Whose scan runs when.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

/// Scans at a time. A scan asks one NameNode for thousands of files.
const AT_A_TIME: usize = 4;
/// Of these, scans of one namespace: slow NameNodes there keep no other namespace waiting.
const OF_A_NAMESPACE: usize = 2;

/// Lets scans through in the order in which they came: so many at a time, and so many of each
/// namespace.
pub(super) struct Turns {
    all: Semaphore,
    /// Of the namespaces with scans that run or wait.
    by_namespace: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// Lasts until it is dropped.
pub(super) struct Turn<'a> {
    _of_all: SemaphorePermit<'a>,
    _of_namespace: OwnedSemaphorePermit,
}

impl Default for Turns {
    fn default() -> Turns {
        Turns {
            all: Semaphore::new(AT_A_TIME),
            by_namespace: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for a turn. Whoever waits for the others of the namespace stands in nobody else's way.
    pub(super) async fn turn(&self, namespace: &str) -> Option<Turn<'_>> {
        // Neither is ever closed.
        let of_namespace = self.of(namespace).acquire_owned().await.ok()?;
        let of_all = self.all.acquire().await.ok()?;
        Some(Turn {
            _of_all: of_all,
            _of_namespace: of_namespace,
        })
    }

    fn of(&self, namespace: &str) -> Arc<Semaphore> {
        let mut by_namespace = self.by_namespace.lock();
        by_namespace.retain(|_, turns| Arc::strong_count(turns) > 1);
        let turns = by_namespace
            .entry(namespace.to_owned())
            .or_insert_with(|| Arc::new(Semaphore::new(OF_A_NAMESPACE)));
        Arc::clone(turns)
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn a_namespace_keeps_no_other_one_waiting() {
        let turns = Turns::default();
        let (first, _second) = (turns.turn("a").await, turns.turn("a").await);
        let mut third = Box::pin(turns.turn("a"));
        let mut fourth = Box::pin(turns.turn("a"));
        assert!(poll!(&mut third).is_pending() && poll!(&mut fourth).is_pending());
        let (_b, _c) = (turns.turn("b").await, turns.turn("c").await);
        drop(first);
        // In the order in which they came.
        assert!(poll!(&mut fourth).is_pending());
        assert!(poll!(&mut third).is_ready());
    }

    #[tokio::test]
    async fn four_scans_run_at_a_time() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for namespace in ["a", "a", "b", "b"] {
            taken.push(turns.turn(namespace).await);
        }
        let mut next = Box::pin(turns.turn("c"));
        assert!(poll!(&mut next).is_pending());
        drop(taken.pop());
        assert!(poll!(&mut next).is_ready());
    }

    #[tokio::test]
    async fn namespaces_without_scans_are_forgotten() {
        let turns = Turns::default();
        for number in 0..100 {
            drop(turns.turn(&format!("n{number}")).await);
        }
        assert_eq!(turns.by_namespace.lock().len(), 1);
    }
}
