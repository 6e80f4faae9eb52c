//! A count in memory that moves with each swap. It numbers requests, and each number is written
//! down: two workers that count, or a count that was forgotten, give one twice.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use outrigger_chassis::{BoxError, Exclusive, State};
use parking_lot::Mutex;

use crate::ledger::{Ledger, NUMBERS};

/// The count. Only one worker has it open.
#[derive(Debug)]
pub(crate) struct Counter {
    path: PathBuf,
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    count: u64,
    numbers: Ledger,
}

impl Counter {
    /// With the numbers in a directory.
    pub(crate) fn new(directory: &Path) -> Counter {
        Counter {
            path: directory.join(NUMBERS),
            open: Mutex::default(),
        }
    }

    /// Gives the next number.
    pub(crate) fn count(&self) -> io::Result<()> {
        let mut open = self.open.lock();
        let open = open.as_mut();
        let open = open.ok_or_else(|| io::Error::other("the count is not open"))?;
        open.count += 1;
        open.numbers.append(open.count)
    }
}

impl Exclusive for Counter {
    fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            let count = match state {
                Some(state) => std::str::from_utf8(&state.to_bytes()?)?.parse()?,
                None => 0,
            };
            let numbers = Ledger::open(&self.path)?;
            *self.open.lock() = Some(Open { count, numbers });
            Ok(())
        }
        .boxed()
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
        async move {
            let mut open = self.open.lock();
            let count = open.as_ref().ok_or("the count is not open")?.count;
            let state = State::from_bytes(count.to_string().as_bytes())?;
            *open = None;
            Ok(Some(state))
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use crate::ledger::{Verdict, ids};

    #[tokio::test]
    async fn a_count_goes_on_from_worker_to_worker_and_one_that_does_not_is_seen() {
        let directory = tempfile::tempdir().unwrap();
        let counter = || Arc::new(Counter::new(directory.path()));
        let verdict = |requests| {
            let numbers = std::fs::read(directory.path().join(NUMBERS)).unwrap();
            Verdict::of_numbers(requests, &ids(&numbers))
        };
        let (first, second, third) = (counter(), counter(), counter());
        assert!(first.count().is_err());
        first.clone().open(None).await.unwrap();
        first.count().unwrap();
        first.count().unwrap();
        let state = first.clone().close().await.unwrap();
        assert!(first.count().is_err());
        second.clone().open(state).await.unwrap();
        second.count().unwrap();
        assert_eq!(verdict(3), Verdict::default());
        third.clone().open(None).await.unwrap();
        third.count().unwrap();
        let forgotten = Verdict {
            lost: 1,
            duplicated: 1,
            ..Verdict::default()
        };
        assert_eq!(verdict(4), forgotten);
    }
}
