//! Whether entries can be stored at this moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use tokio::task::JoinError;
use tokio::time::timeout;

use super::error::{Kind, StoreError};
use super::{Store, schema};

/// Time to say whether the store is warm, in milliseconds: less than callers wait, so that they
/// learn which server it is that gives no answer.
const WARM_MILLISECONDS: u64 = 1500;

/// A check that several wait for.
pub(super) type Checking = Shared<BoxFuture<'static, Result<(), StoreError>>>;

impl Store {
    /// Opens a connection, if there is none, and checks that entries can be stored over it. A check
    /// that takes longer goes on, so that a later call finds the connection of a slow server.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<(), StoreError> {
        self.keep_trim();
        match timeout(Duration::from_millis(WARM_MILLISECONDS), self.checking()).await {
            Ok(checked) => checked,
            Err(_) => {
                let silent = || {
                    let message = format!("gave no answer within {WARM_MILLISECONDS} ms");
                    StoreError::before(Kind::Timeout, message)
                };
                Err(self.pool.failure().unwrap_or_else(silent).at(&self.server))
            }
        }
    }

    /// The check that goes on, or a new one.
    pub(super) fn checking(self: &Arc<Self>) -> Checking {
        let mut checking = self.checking.lock();
        if let Some((task, checking)) = &*checking
            && !task.is_finished()
        {
            return checking.clone();
        }
        let store = Arc::clone(self);
        let task = tokio::spawn(async move { store.check().await });
        let handle = task.abort_handle();
        let checked = async move {
            let failed = |panic: JoinError| StoreError::before(Kind::Failed, panic.to_string());
            task.await.map_err(failed)?
        };
        let checked = checked.boxed().shared();
        *checking = Some((handle, checked.clone()));
        checked
    }

    async fn check(&self) -> Result<(), StoreError> {
        let warm = async {
            let lease = self.pool.get(None).await?;
            let checked = async {
                schema::ensure(&lease).await?;
                lease.prepare_put().await?;
                Ok(())
            }
            .await;
            lease.settle(checked)
        };
        let warm = warm.await.map_err(|error| error.at(&self.server));
        self.ensured.store(warm.is_ok(), Ordering::Release);
        warm
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::future::join_all;
    use outrigger_control::parameters::{Credentials, PostgresqlStore, SslMode};
    use tokio::net::TcpListener;

    use super::*;
    use crate::store::Target;

    #[tokio::test]
    async fn all_who_ask_at_one_time_wait_for_one_check() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let store = PostgresqlStore {
            host: "127.0.0.1".into(),
            port: Some(server.local_addr().unwrap().port().into()),
            database: "entries".into(),
            credentials: Credentials {
                secret_name: "database".into(),
            },
            ssl_mode: Some(SslMode::Disable),
            max_connections: Some(4),
        };
        let secret = ["username", "password"].map(|key| (key.to_owned(), "outrigger".to_owned()));
        let target = Target::new(&store, BTreeMap::from(secret), "outrigger".into()).unwrap();
        let store = Arc::new(Store::new(target).unwrap());
        // The server answers nobody until it is gone.
        let answers = async {
            let connection = server.accept().await.unwrap();
            assert_eq!(store.connections().busy, 1);
            drop((connection, server));
        };
        let asked = join_all((0..5).map(|_| store.warm()));
        let (checked, ()) = tokio::join!(asked, answers);
        assert!(checked.iter().all(Result::is_err));
        assert_eq!(store.connections().busy, 0);
    }
}
