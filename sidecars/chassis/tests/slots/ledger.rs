//! What only one worker may have: a count in memory, and a store whose file is locked.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use outrigger_chassis::{BoxError, Exclusive, State};
use outrigger_control::layout;
use parking_lot::Mutex;
use rustix::fs::{FlockOperation, flock};

/// The store of a pod with a shared directory.
pub(crate) const STORE: &str = "store";

/// The file that keeps a slot from opening the store.
pub(crate) fn obstacle(slot: &str) -> String {
    format!("closed-to-{slot}")
}

#[derive(Default)]
pub(crate) struct Ledger(Mutex<Option<Opened>>);

struct Opened {
    count: u64,
    _store: File,
}

impl Ledger {
    /// Counts one. Panics if the store is not open.
    pub(crate) fn add(&self) -> u64 {
        let mut opened = self.0.lock();
        let opened = opened.as_mut().expect("the store is open");
        opened.count += 1;
        opened.count
    }
}

impl Exclusive for Ledger {
    fn open(self: Arc<Self>, state: Option<State>) -> BoxFuture<'static, Result<(), BoxError>> {
        async move {
            let variable = |name| std::env::var(name).expect("a slot has it");
            let shared = PathBuf::from(variable("OUTRIGGER_SHARED_DIR"));
            if shared.join(obstacle(&variable(layout::ENV_SLOT))).exists() {
                return Err("the store is closed to this slot".into());
            }
            let store = File::create(shared.join(STORE))?;
            flock(&store, FlockOperation::NonBlockingLockExclusive)?;
            let count = match state {
                Some(state) => std::str::from_utf8(&state.to_bytes()?)?.parse()?,
                None => 0,
            };
            let _store = store;
            let former = self.0.lock().replace(Opened { count, _store });
            assert!(former.is_none(), "it was closed before");
            Ok(())
        }
        .boxed()
    }

    fn close(self: Arc<Self>) -> BoxFuture<'static, Result<Option<State>, BoxError>> {
        async move {
            let Opened { count, _store } = self.0.lock().take().expect("it is open");
            Ok(Some(State::from_bytes(count.to_string().as_bytes())?))
        }
        .boxed()
    }
}
