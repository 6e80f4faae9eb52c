//! The connections of one store: made when needed, kept, and closed again when idle.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::connection::Connector;
use super::error::{Kind, StoreError};
use super::session::Session;

/// Longest wait for a connection that others use, in seconds.
const WAIT_SECONDS: u64 = 5;
/// All idle connections but one are closed after this time.
const IDLE: Duration = Duration::from_secs(60);

/// A bounded number of connections.
///
/// Every connection is either idle or belongs to the holder of a permit, and a holder makes a new
/// one only if none is idle: so there are never more connections than permits.
pub(crate) struct Pool {
    connector: Connector,
    most: usize,
    permits: Semaphore,
    /// The one used last is at the end and is taken first, so that surplus ones age.
    idle: Mutex<Vec<Idle>>,
    /// Why the last attempt to connect failed, until one succeeds.
    failure: Mutex<Option<StoreError>>,
}

struct Idle {
    session: Arc<Session>,
    since: Instant,
}

/// How many connections there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Connections {
    /// Carrying out a statement, or being made.
    pub(crate) busy: usize,
    /// Open and waiting for work.
    pub(crate) idle: usize,
    /// Allowed in all.
    pub(crate) most: usize,
}

impl Pool {
    pub(super) fn new(connector: Connector, most: usize) -> Pool {
        Pool {
            connector,
            most,
            permits: Semaphore::new(most),
            idle: Mutex::new(Vec::new()),
            failure: Mutex::new(None),
        }
    }

    /// An idle connection, or a new one, for one of several applications at its turn.
    pub(super) async fn get(&self, turns: Option<Arc<Semaphore>>) -> Result<Lease<'_>, StoreError> {
        let permits = async {
            let turn = match turns {
                Some(turns) => Some(turns.acquire_owned().await?),
                None => None,
            };
            Ok::<_, AcquireError>((self.permits.acquire().await?, turn))
        };
        let wait = timeout(Duration::from_secs(WAIT_SECONDS), permits);
        let Ok(Ok(permits)) = wait.await else {
            // While nobody can connect, those who wait behind the attempts are told why.
            return Err(self.failure().unwrap_or_else(|| {
                let most = self.most;
                StoreError::before(
                    Kind::Busy,
                    format!("has all connections of this slot in use for {WAIT_SECONDS} s; allowed are {most} (maxConnections)"),
                )
            }));
        };
        let session = match self.take_idle() {
            Some(session) => session,
            None => Arc::new(self.connect().await?),
        };
        Ok(Lease {
            pool: self,
            session,
            settled: false,
            _permits: permits,
        })
    }

    fn take_idle(&self) -> Option<Arc<Session>> {
        let mut idle = self.idle.lock();
        while let Some(Idle { session, .. }) = idle.pop() {
            if !session.is_closed() {
                return Some(session);
            }
        }
        None
    }

    async fn connect(&self) -> Result<Session, StoreError> {
        let connected = self.connector.connect().await;
        *self.failure.lock() = connected.as_ref().err().cloned();
        connected
    }

    fn end_idle(&self) {
        for idle in self.idle.lock().drain(..) {
            idle.session.abort();
        }
    }

    /// Why the last attempt to connect failed, if it did.
    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failure.lock().clone()
    }

    /// Closes connections that have been idle for long, all but the one used last.
    pub(super) fn trim(&self) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.retain(|idle| !idle.session.is_closed());
        let last = idle.pop();
        idle.retain(|idle| now.duration_since(idle.since) < IDLE);
        idle.extend(last);
    }

    /// True if no connection is open or being made.
    pub(super) fn is_empty(&self) -> bool {
        let Connections { busy, idle, .. } = self.connections();
        busy == 0 && idle == 0
    }

    pub(super) fn connections(&self) -> Connections {
        Connections {
            busy: self.most - self.permits.available_permits(),
            idle: self.idle.lock().len(),
            most: self.most,
        }
    }
}

/// A connection in use. It goes back once its last statement is settled; if its holder was dropped
/// before, nobody knows what the connection is still busy with, and it is ended.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    session: Arc<Session>,
    settled: bool,
    // Given back after the session.
    _permits: (SemaphorePermit<'p>, Option<OwnedSemaphorePermit>),
}

impl Lease<'_> {
    /// Gives the connection back. If the error says that it is of no further use, it is ended, and
    /// the idle ones with it: they lead to the same server, which is gone or no longer the primary.
    pub(super) fn settle<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.settled = !matches!(result, Err(StoreError { broken: true, .. }));
        if !self.settled {
            self.pool.end_idle();
        }
        result
    }
}

impl Deref for Lease<'_> {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.session.abort();
        } else if !self.session.is_closed() {
            self.pool.idle.lock().push(Idle {
                session: Arc::clone(&self.session),
                since: Instant::now(),
            });
        }
    }
}
