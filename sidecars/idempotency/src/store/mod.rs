//! Entries in PostgreSQL. Its unique constraint decides which of several documents is stored.

mod check;
mod connection;
mod error;
mod pool;
mod schema;
mod session;
mod shared;
mod shares;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use uuid::Uuid;

pub(crate) use connection::{InvalidTarget, Target};
pub(crate) use error::{Kind, StoreError};
pub(crate) use pool::Connections;
pub(crate) use shared::Stores;
pub(crate) use shares::Member;

use self::check::Checking;
use self::connection::Connector;
use self::pool::{Lease, Pool};
use self::shares::Shares;
use crate::key::Key;

/// Time for one request, over all attempts, in seconds.
const REQUEST_SECONDS: u64 = 8;
/// An attempt is repeated when its connection broke or its entry was committed by another session
/// in between. Both end after one repetition, unless the server keeps failing.
const ATTEMPTS: usize = 4;
/// Idle connections are looked at this often.
const TRIM_EVERY: Duration = Duration::from_secs(30);
/// Expired entries are deleted at most this often, by a slot that stores entries which expire.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
const SWEEP_BATCH: i64 = 500;
const SWEEP_BATCHES: usize = 20;

/// Whose entries: no two applications meet, and no two functions of one.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) namespace: String,
    pub(crate) application: String,
    pub(crate) function: String,
    /// The application's share of the store.
    pub(crate) member: Member,
}

/// What became of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Put {
    /// It is on disk, under this index.
    Stored { index: i64 },
    /// Its key belongs to this entry.
    Known { index: i64, entry: String },
}

/// Why a document may not be stored.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum PutError {
    /// It is not stored.
    #[error("{0}")]
    NotStored(StoreError),
    /// It may or may not be stored.
    #[error("{0}")]
    Unknown(StoreError),
}

/// A database with our tables. It connects when needed and again after every outage.
pub(crate) struct Store {
    target: Target,
    server: String,
    pool: Pool,
    shares: Shares,
    /// True once the tables have been seen.
    ensured: AtomicBool,
    swept: Mutex<Option<Instant>>,
    trimmer: OnceLock<AbortHandle>,
    /// The check that goes on, for all who want one: they come at the same time, from every
    /// function, and a connection each would keep requests waiting.
    checking: Mutex<Option<(AbortHandle, Checking)>>,
}

impl Store {
    pub(crate) fn new(target: Target) -> Result<Store, InvalidTarget> {
        Ok(Store {
            shares: Shares::of(target.max_connections()),
            pool: Pool::new(Connector::new(&target)?, target.max_connections()),
            server: target.describe(),
            target,
            ensured: AtomicBool::new(false),
            swept: Mutex::new(None),
            trimmer: OnceLock::new(),
            checking: Mutex::new(None),
        })
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Counts an application among those that use the store.
    pub(crate) fn join(&self, application: &str) -> Member {
        self.shares.join(application)
    }

    pub(crate) fn connections(&self) -> Connections {
        self.pool.connections()
    }

    /// Stores a document unless its key is taken.
    ///
    /// The request has an id of its own in the table, so that an attempt whose connection broke
    /// after COMMIT was sent is found again by the next attempt and answered as what it was.
    pub(crate) async fn put(
        self: &Arc<Self>,
        scope: &Scope,
        key: &Key,
        document: &str,
        expire_after: Option<Duration>,
    ) -> Result<Put, PutError> {
        self.keep_trim();
        let request = Uuid::new_v4();
        let deadline = Instant::now() + Duration::from_secs(REQUEST_SECONDS);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let mut sent = false;
            let attempt = self.put_once(scope, key, document, expire_after, request, &mut sent);
            let error = match timeout_at(deadline, attempt).await {
                Ok(Ok(Some(put))) => {
                    if expire_after.is_some() {
                        self.sweep_now_and_then();
                    }
                    return Ok(put);
                }
                // The entry of this key was committed after the statement began.
                Ok(Ok(None)) => continue,
                Ok(Err(error)) => error,
                Err(_) => StoreError {
                    unclear: sent,
                    ..StoreError::unanswered(REQUEST_SECONDS)
                },
            };
            let lost = error.kind == Kind::ConnectionLost;
            let maybe_stored =
                error.unclear || matches!(last, Some(StoreError { unclear: true, .. }));
            last = Some(StoreError {
                unclear: maybe_stored,
                ..error
            });
            if !lost {
                break;
            }
        }
        let error = last
            .unwrap_or_else(|| {
                StoreError::before(
                    Kind::Busy,
                    format!(
                        "had the entry of this key replaced during each of {ATTEMPTS} attempts"
                    ),
                )
            })
            .at(&self.server);
        Err(match error.unclear {
            true => PutError::Unknown(error),
            false => PutError::NotStored(error),
        })
    }

    async fn put_once(
        &self,
        scope: &Scope,
        key: &Key,
        document: &str,
        expire_after: Option<Duration>,
        request: Uuid,
        sent: &mut bool,
    ) -> Result<Option<Put>, StoreError> {
        let lease = self.ensured_lease(&scope.member).await?;
        let seconds = expire_after.map(|after| after.as_secs_f64());
        *sent = true;
        let row = lease
            .put(&[
                &scope.namespace,
                &scope.application,
                &scope.function,
                &key.digest(),
                &key.as_str(),
                &document,
                &request,
                &seconds,
            ])
            .await;
        let row = self.settle(lease, row)?;
        row.map(|row| read_put(&row, key, request)).transpose()
    }

    /// The entry with an index, if there is one.
    pub(crate) async fn get(
        self: &Arc<Self>,
        scope: &Scope,
        index: i64,
    ) -> Result<Option<String>, StoreError> {
        self.keep_trim();
        let deadline = Instant::now() + Duration::from_secs(REQUEST_SECONDS);
        let mut last = StoreError::unanswered(REQUEST_SECONDS);
        for _ in 0..ATTEMPTS {
            match timeout_at(deadline, self.get_once(scope, index)).await {
                Ok(Ok(entry)) => return Ok(entry),
                Ok(Err(error)) => last = error,
                Err(_) => break,
            }
            if last.kind != Kind::ConnectionLost {
                break;
            }
        }
        Err(last.at(&self.server))
    }

    async fn get_once(&self, scope: &Scope, index: i64) -> Result<Option<String>, StoreError> {
        let lease = self.ensured_lease(&scope.member).await?;
        let row = lease
            .get(&[
                &index,
                &scope.namespace,
                &scope.application,
                &scope.function,
            ])
            .await;
        let row = self.settle(lease, row)?;
        row.map(|row| row.try_get("entry").map_err(|error| unreadable(&error)))
            .transpose()
    }

    /// A connection to a database whose tables have been seen.
    async fn ensured_lease(&self, member: &Member) -> Result<Lease<'_>, StoreError> {
        let lease = self.pool.get(member.turns(&self.shares)).await?;
        if self.ensured.load(Ordering::Acquire) {
            return Ok(lease);
        }
        match schema::ensure(&lease).await {
            Ok(()) => {
                self.ensured.store(true, Ordering::Release);
                Ok(lease)
            }
            // No document was sent yet.
            Err(error) => lease.settle(Err(StoreError {
                unclear: false,
                ..error
            })),
        }
    }

    fn settle<T>(&self, lease: Lease<'_>, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(&result, Err(error) if error.kind == Kind::Schema) {
            // Somebody has dropped or changed the tables.
            self.ensured.store(false, Ordering::Release);
        }
        lease.settle(result)
    }

    fn sweep_now_and_then(self: &Arc<Self>) {
        let now = Instant::now();
        let due = {
            let mut swept = self.swept.lock();
            let due = swept.is_none_or(|at| now.duration_since(at) >= SWEEP_EVERY);
            if due {
                *swept = Some(now);
            }
            due
        };
        if due {
            let store = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = store.sweep().await {
                    tracing::warn!(error = %error.at(&store.server), "Expired entries were not deleted");
                }
            });
        }
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        for _ in 0..SWEEP_BATCHES {
            let lease = self.pool.get(None).await?;
            let swept = lease.sweep(SWEEP_BATCH).await;
            if lease.settle(swept)? < SWEEP_BATCH.unsigned_abs() {
                break;
            }
        }
        Ok(())
    }

    /// Starts the task that closes connections after a busy time and keeps one, until the store is
    /// dropped.
    fn keep_trim(self: &Arc<Self>) {
        self.trimmer.get_or_init(|| {
            let store = Arc::downgrade(self);
            let trim = async move {
                let start = Instant::now() + TRIM_EVERY;
                let mut ticks = tokio::time::interval_at(start, TRIM_EVERY);
                loop {
                    ticks.tick().await;
                    let Some(store) = store.upgrade() else { return };
                    store.pool.trim();
                    // A standby stays warm through the database's restarts. If it cannot, the
                    // next request says why.
                    if store.pool.is_empty() {
                        let _ = store.checking().await;
                    }
                }
            };
            tokio::spawn(trim).abort_handle()
        });
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(trimmer) = self.trimmer.get() {
            trimmer.abort();
        }
    }
}

fn read_put(row: &Row, key: &Key, request: Uuid) -> Result<Put, StoreError> {
    let read = |error: tokio_postgres::Error| unreadable(&error);
    let index = row.try_get("id").map_err(read)?;
    let by: Option<Uuid> = row.try_get("request").map_err(read)?;
    if by.is_none_or(|by| by == request) {
        return Ok(Put::Stored { index });
    }
    let stored_key: &str = row.try_get("key").map_err(read)?;
    if stored_key != key.as_str() {
        return Err(StoreError::before(
            Kind::Failed,
            format!("holds entry {index} with the same SHA-256 of its key but another key"),
        ));
    }
    let entry = row.try_get("entry").map_err(read)?;
    Ok(Put::Known { index, entry })
}

fn unreadable(error: &tokio_postgres::Error) -> StoreError {
    StoreError::before(
        Kind::Failed,
        format!("answered with something else than an entry: {error}"),
    )
}
