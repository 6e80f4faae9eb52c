//! One connection and the statements on it.

use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, Statement};

use super::error::StoreError;

/// Time that a statement gets here, in seconds; the server gives up a second before.
const ANSWER_SECONDS: u64 = 5;

/// Undoes what a database or role may have set against us: an answer "stored" must mean that it is
/// on disk, waiting must end, and a concurrent insert must be seen rather than be an error.
const SETUP: &str = "
    SET statement_timeout = '4s';
    SET lock_timeout = '3s';
    SET default_transaction_isolation = 'read committed';
    SET client_min_messages = 'warning';
    SELECT set_config('synchronous_commit', 'on', false)
        WHERE current_setting('synchronous_commit') = 'off';
";

const PUT: &str = include_str!("put.sql");
const GET: &str = include_str!("get.sql");
const SWEEP: &str = include_str!("sweep.sql");

/// Parameters of a statement.
pub(super) type Parameters<'p> = &'p [&'p (dyn ToSql + Sync)];

/// A connection that is signed in and set up.
pub(crate) struct Session {
    client: Client,
    task: AbortHandle,
    put: OnceCell<Statement>,
    get: OnceCell<Statement>,
}

impl Session {
    pub(super) async fn start(client: Client, task: AbortHandle) -> Result<Session, StoreError> {
        let session = Session {
            client,
            task,
            put: OnceCell::new(),
            get: OnceCell::new(),
        };
        session.run(session.client.batch_execute(SETUP)).await?;
        Ok(session)
    }

    /// True when the connection has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Prepares the statement that stores.
    pub(super) async fn prepare_put(&self) -> Result<&Statement, StoreError> {
        self.prepared(&self.put, PUT).await
    }

    /// See `put.sql`.
    pub(super) async fn put(&self, parameters: Parameters<'_>) -> Result<Option<Row>, StoreError> {
        let statement = self.prepare_put().await?;
        self.run(self.client.query_opt(statement, parameters)).await
    }

    /// See `get.sql`.
    pub(super) async fn get(&self, parameters: Parameters<'_>) -> Result<Option<Row>, StoreError> {
        let statement = self.prepared(&self.get, GET).await?;
        self.run(self.client.query_opt(statement, parameters)).await
    }

    /// See `sweep.sql`; the number of deleted entries.
    pub(super) async fn sweep(&self, at_most: i64) -> Result<u64, StoreError> {
        self.run(self.client.execute(SWEEP, &[&at_most])).await
    }

    /// One row of a query that is made seldom.
    pub(super) async fn row(
        &self,
        query: &str,
        parameters: Parameters<'_>,
    ) -> Result<Option<Row>, StoreError> {
        self.run(self.client.query_opt(query, parameters)).await
    }

    /// Several statements in one transaction, all or none.
    pub(super) async fn transaction(&self, statements: &str) -> Result<(), StoreError> {
        // Sent as one message, they are one transaction (section 55.2.2.1 of the manual).
        self.run(self.client.batch_execute(statements)).await
    }

    async fn prepared<'s>(
        &'s self,
        cell: &'s OnceCell<Statement>,
        sql: &str,
    ) -> Result<&'s Statement, StoreError> {
        cell.get_or_try_init(|| async {
            let prepared = self.run(self.client.prepare(sql)).await;
            // Nothing was carried out, whatever happened.
            prepared.map_err(|error| StoreError {
                unclear: false,
                ..error
            })
        })
        .await
    }

    async fn run<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, StoreError> {
        match timeout(Duration::from_secs(ANSWER_SECONDS), statement).await {
            Ok(done) => done.map_err(|error| StoreError::statement(&error)),
            Err(_) => Err(StoreError::unanswered(ANSWER_SECONDS)),
        }
    }

    /// Ends the connection at once, whatever it still waits for.
    pub(super) fn abort(&self) {
        self.task.abort();
    }
}
