//! Pods as the API server shows them over time, by a watch, so that nothing short is missed.

mod record;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::bail;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use self::record::{PhaseChange, Record, Totals};

/// A watch over the pods with certain labels. It ends when it is dropped.
#[derive(Debug)]
pub struct Observer {
    record: Arc<Mutex<Record>>,
    changes: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Observer {
    /// Begins to watch, and returns when all pods have been seen.
    ///
    /// # Errors
    /// When the API server does not show them within `patience`.
    pub async fn start(
        pods: Api<Pod>,
        selector: &str,
        sidecar: &str,
        patience: Duration,
    ) -> anyhow::Result<Observer> {
        let record = Arc::new(Mutex::new(Record::new(sidecar)));
        let (sender, mut changes) = watch::channel(0);
        let config = watcher::Config::default().labels(selector);
        let task = tokio::spawn({
            let record = Arc::clone(&record);
            async move {
                let mut events = std::pin::pin!(watcher(pods, config).default_backoff());
                while let Some(event) = events.next().await {
                    // An error is followed by another attempt, which tells of what came between.
                    let Ok(event) = event else { continue };
                    let complete = record.lock().take(Instant::now(), &event);
                    if complete {
                        sender.send_modify(|count| *count += 1);
                    }
                }
            }
        });
        let seen = changes.wait_for(|count| *count > 0);
        if tokio::time::timeout(patience, seen).await.is_err() {
            task.abort();
            bail!("the pods with {selector} were not shown within {patience:?}");
        }
        Ok(Observer {
            record,
            changes,
            task,
        })
    }

    /// Figures so far.
    pub fn totals(&self) -> Totals {
        self.record.lock().totals()
    }

    /// All changes of phases so far.
    pub fn phases(&self) -> Vec<PhaseChange> {
        self.record.lock().phases().to_vec()
    }

    /// The newest state of each pod.
    pub fn pods(&self) -> Vec<Pod> {
        self.record.lock().pods()
    }

    /// A count that rises with everything that is seen.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// Waits until something holds of what was seen; `what` says it in words.
    ///
    /// # Errors
    /// When it does not within `patience`.
    pub async fn wait<T>(
        &self,
        what: &str,
        patience: Duration,
        mut holds: impl FnMut(&Record) -> Option<T>,
    ) -> anyhow::Result<T> {
        let mut changes = self.changes.clone();
        let found = tokio::time::timeout(patience, async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = holds(&self.record.lock()) {
                    return Some(found);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        });
        match found.await {
            Ok(Some(found)) => Ok(found),
            _ => bail!(
                "{what} was not seen within {patience:?}; last seen: {}",
                self.record.lock().describe()
            ),
        }
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
