use std::collections::HashMap;
use std::error::Error;
use std::fmt::Display;
use std::future::Future;

use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

/// An essential task did not go on. The process cannot do its work without it.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// It returned without having been told to stop.
    #[error("{0} ended unexpectedly")]
    Ended(&'static str),
    /// It gave up.
    #[error("{name} failed: {message}")]
    Failed {
        /// The task.
        name: &'static str,
        /// Why.
        message: String,
    },
    /// It panicked.
    #[error("{name} panicked: {message}")]
    Panicked {
        /// The task.
        name: &'static str,
        /// What it said.
        message: String,
    },
}

/// Tasks that all have to run until the process stops.
#[derive(Default)]
pub struct EssentialTasks {
    tasks: JoinSet<Result<(), Box<dyn Error + Send + Sync>>>,
    names: HashMap<Id, &'static str>,
}

impl EssentialTasks {
    /// None yet.
    pub fn new() -> EssentialTasks {
        EssentialTasks::default()
    }

    /// Starts a task that ends when told to stop.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.spawn_fallible(name, async {
            task.await;
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// Starts a task that ends when told to stop, or with an error.
    pub fn spawn_fallible<E: Error + Send + Sync + 'static>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self
            .tasks
            .spawn(async { task.await.map_err(|error| error.into()) });
        self.names.insert(handle.id(), name);
    }

    /// Waits until all tasks have ended after `stop`, or for the first that goes wrong. Dropping the
    /// tasks aborts those that still run.
    pub async fn run(&mut self, stop: &CancellationToken) -> Result<(), TaskError> {
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let (id, result) = match ended {
                Ok((id, result)) => (id, Ok(result)),
                Err(error) => (error.id(), Err(error)),
            };
            let name = self.names.remove(&id).unwrap_or("a task");
            match result {
                Ok(Ok(())) if stop.is_cancelled() => {
                    tracing::debug!("{name} ended");
                }
                Ok(Ok(())) => return Err(TaskError::Ended(name)),
                Ok(Err(error)) => {
                    return Err(TaskError::Failed {
                        name,
                        message: error.to_string(),
                    });
                }
                Err(error) => {
                    return Err(TaskError::Panicked {
                        name,
                        message: panic_message(error),
                    });
                }
            }
        }
        Ok(())
    }

    /// Cuts off the tasks that still run, each at its next pause.
    pub async fn abort(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// What a task said when it panicked.
pub(crate) fn panic_message(error: JoinError) -> String {
    let shown: &dyn Display = &error;
    let fallback = shown.to_string();
    match error.try_into_panic() {
        Err(_) => fallback,
        Ok(payload) => payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or(fallback),
    }
}
