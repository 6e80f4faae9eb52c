use std::error::Error;
use std::future::Future;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::Timing;
use super::decide::{Decision, Sight};
use super::lease::{LEASE_NAME, created, holder, released, written};
use crate::ElectionMetrics;
use crate::tasks::panic_message;

/// The leader's work went wrong, so that the process has to end.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// It ended while this replica was the leader.
    #[error("the leader's work ended unexpectedly")]
    WorkEnded,
    /// It gave up.
    #[error("the leader's work failed: {0}")]
    WorkFailed(String),
    /// It panicked.
    #[error("the leader's work panicked: {0}")]
    WorkPanicked(String),
    /// It did not stop before another replica may lead.
    #[error("the leader's work did not stop within {} s, and another replica leads soon", .0.as_secs_f64())]
    WorkLasts(Duration),
}

/// Takes part in the election.
pub struct Elector {
    leases: Api<Lease>,
    identity: String,
    timing: Timing,
    metrics: ElectionMetrics,
}

/// Leadership that was confirmed.
struct Term {
    lease: Lease,
    /// Until when it is safe to lead without a further confirmation.
    until: Instant,
}

/// Why a term ended.
enum End {
    Stopped,
    Expired,
    Lost,
}

/// How a renewal went.
enum Renewal {
    Confirmed(Term),
    /// Another try is worth it, on this version if there is a newer one.
    Failed(Option<Lease>),
    Lost,
}

type Work<E> = AbortOnDropHandle<Result<(), E>>;

impl Elector {
    /// For the replica in the given pod. A restarted container is another contender than it was
    /// before, since it cannot know what its former self left unfinished.
    pub fn new(
        client: Client,
        namespace: &str,
        pod: &str,
        timing: Timing,
        metrics: ElectionMetrics,
    ) -> Elector {
        Elector {
            leases: Api::namespaced(client, namespace),
            identity: format!("{pod}_{}", uuid::Uuid::new_v4()),
            timing,
            metrics,
        }
    }

    /// Name of this contender in the Lease.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Takes part until `stop`, then releases the Lease. Each time this replica is elected, `work`
    /// is called and its future runs until its token is cancelled; it has to end then, within
    /// [`Timing::stop_within`]. An error means that the process has to end.
    pub async fn run<W, F, E>(
        &self,
        mut work: W,
        stop: CancellationToken,
    ) -> Result<(), ElectionError>
    where
        W: FnMut(CancellationToken) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        while let Some(term) = self.win(&stop).await {
            tracing::info!(identity = self.identity, "elected as the leader");
            self.metrics.begin();
            let ended = self.lead(term, &mut work, &stop).await;
            self.metrics.end();
            ended?;
            tracing::info!(identity = self.identity, "no longer the leader");
        }
        // A write that was under way may have been the one that counted.
        if let Ok(Some(found)) = self.read().await
            && holder(&found) == Some(&self.identity)
        {
            let limit = Instant::now() + self.timing.stop_within();
            self.release(found, limit).await;
        }
        Ok(())
    }

    /// Contends until elected; `None` after `stop`.
    async fn win(&self, stop: &CancellationToken) -> Option<Term> {
        // Changes only tell when to look: what is decided on is read.
        let changes = watcher::watch_object(self.leases.clone(), LEASE_NAME).default_backoff();
        let mut changes = std::pin::pin!(changes);
        let mut sight: Option<Sight> = None;
        loop {
            let elected = stop.run_until_cancelled(self.contend(&mut sight)).await?;
            let wake = match elected {
                Ok(term) => return Some(term),
                Err(wake) => wake.min(Instant::now() + self.timing.retry()),
            };
            tokio::select! {
                () = stop.cancelled() => return None,
                Some(_) = changes.next() => {}
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Looks once, and writes if it is time. An error says when it is worth looking again.
    async fn contend(&self, sight: &mut Option<Sight>) -> Result<Term, Instant> {
        let retry = || Instant::now() + self.timing.retry();
        let found = self.read().await.map_err(|error| {
            tracing::warn!(%error, "Lease {LEASE_NAME} cannot be read; trying again");
            retry()
        })?;
        let now = Instant::now();
        let sight = match sight {
            None => sight.insert(Sight::new(found, self.timing, now)),
            Some(sight) => {
                sight.update(found, self.timing, now);
                sight
            }
        };
        if let Decision::Wait(until) = sight.decide(&self.identity, now) {
            return Err(until);
        }
        match self.write(sight.lease()).await {
            Ok(term) if Instant::now() < term.until => Ok(term),
            Ok(_) => Err(retry()),
            Err(error) => {
                tracing::info!(%error, "not elected; trying again");
                Err(retry())
            }
        }
    }

    /// Leads for one term.
    async fn lead<W, F, E>(
        &self,
        mut term: Term,
        work: &mut W,
        stop: &CancellationToken,
    ) -> Result<(), ElectionError>
    where
        W: FnMut(CancellationToken) -> F,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Error + Send + 'static,
    {
        let token = CancellationToken::new();
        let mut running: Work<E> = AbortOnDropHandle::new(tokio::spawn(work(token.clone())));
        let mut next = Instant::now() + self.timing.retry();
        let end = loop {
            let began = next;
            let renewal = tokio::select! {
                biased;
                () = stop.cancelled() => break End::Stopped,
                ended = &mut running => return Err(match finished(ended) {
                    Ok(()) => ElectionError::WorkEnded,
                    Err(error) => error,
                }),
                () = sleep_until(term.until) => break End::Expired,
                renewal = self.renew(&term.lease, next) => renewal,
            };
            let soon = Instant::now() + self.timing.retry() / 4;
            next = (began + self.timing.retry()).max(soon);
            match renewal {
                Renewal::Confirmed(renewed) => term = renewed,
                Renewal::Failed(None) => {}
                Renewal::Failed(Some(newer)) => (term.lease, next) = (newer, soon),
                Renewal::Lost => break End::Lost,
            }
        };
        match end {
            End::Stopped => {}
            End::Expired => tracing::warn!("Lease {LEASE_NAME} could not be renewed in time"),
            End::Lost => tracing::warn!("Lease {LEASE_NAME} was taken or deleted"),
        }
        token.cancel();
        let limit = term.until + self.timing.stop_within();
        match timeout_at(limit, running).await {
            Ok(ended) => finished(ended)?,
            Err(_) => return Err(ElectionError::WorkLasts(self.timing.stop_within())),
        }
        if let End::Stopped = end {
            self.release(term.lease, limit).await;
        }
        Ok(())
    }

    /// Renews once, when it is time.
    async fn renew(&self, lease: &Lease, at: Instant) -> Renewal {
        sleep_until(at).await;
        let error = match self.write(Some(lease)).await {
            Ok(term) => return Renewal::Confirmed(term),
            Err(error) => error,
        };
        tracing::info!(%error, "Lease {LEASE_NAME} not renewed; trying again");
        if !matches!(&error, CallError::Api(kube::Error::Api(status)) if status.code == 409 || status.code == 404)
        {
            return Renewal::Failed(None);
        }
        // Perhaps by our own write, the answer to which never came.
        match self.read().await {
            Ok(Some(found)) if holder(&found) == Some(&self.identity) => {
                Renewal::Failed(Some(found))
            }
            Ok(_) => Renewal::Lost,
            Err(_) => Renewal::Failed(None),
        }
    }

    /// Gives the Lease up, so that another replica leads at once.
    async fn release(&self, mut lease: Lease, limit: Instant) {
        while Instant::now() < limit {
            let free = released(&lease, Timestamp::now());
            let parameters = PostParams::default();
            let call = self.leases.replace(LEASE_NAME, &parameters, &free);
            match self.call(call).await {
                Ok(_) => {
                    tracing::info!("Lease {LEASE_NAME} released");
                    return;
                }
                Err(error) => tracing::info!(%error, "Lease {LEASE_NAME} not released"),
            }
            match self.read().await {
                Ok(Some(found)) if holder(&found) == Some(&self.identity) => lease = found,
                Ok(_) => return,
                Err(_) => tokio::time::sleep(self.timing.retry() / 4).await,
            }
        }
    }

    async fn read(&self) -> Result<Option<Lease>, CallError> {
        self.call(self.leases.get_opt(LEASE_NAME)).await
    }

    /// Writes this contender's name into the version that was found, or into a new Lease.
    async fn write(&self, found: Option<&Lease>) -> Result<Term, CallError> {
        // The term is counted from before the write, and so ends before anybody else's count does.
        let until = Instant::now() + self.timing.renew_within();
        let (parameters, now) = (PostParams::default(), Timestamp::now());
        let lease = match found {
            None => {
                let lease = created(&self.identity, self.timing, now);
                self.call(self.leases.create(&parameters, &lease)).await?
            }
            Some(found) => {
                let lease = written(found, &self.identity, self.timing, now);
                let call = self.leases.replace(LEASE_NAME, &parameters, &lease);
                self.call(call).await?
            }
        };
        Ok(Term { lease, until })
    }

    async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, CallError> {
        match timeout(self.timing.request(), call).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(CallError::Late(self.timing.request())),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error(transparent)]
    Api(#[from] kube::Error),
    #[error("no answer within {} s", .0.as_secs_f64())]
    Late(Duration),
}

/// How the work ended.
fn finished<E: Error>(ended: Result<Result<(), E>, JoinError>) -> Result<(), ElectionError> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ElectionError::WorkFailed(error.to_string())),
        Err(error) => Err(ElectionError::WorkPanicked(panic_message(error))),
    }
}
