use std::sync::Arc;

use futures::StreamExt;
use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::controller::Action;
use outrigger_api::conditions::reason;
use outrigger_api::{Dataset, DatasetStatus};
use outrigger_lookup::LookupError;
use tokio::time::Instant;

use super::finding::Finding;
use super::locations::DatasetKey;
use super::scans::Scanned;
use super::validate::{self, Wanted, WantedClaims, WantedHdfs};
use super::watched::Watched;
use super::{claims, hdfs, metrics, read, report};
use crate::drive::LOOK_AGAIN;
use crate::status::{self, Progress, Summary};

/// A Dataset could not be looked at.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Read(#[from] LookupError),
    #[error("status cannot be written: {0}")]
    Report(kube::Error),
}

impl Failure {
    /// What is to be said of a failure that does not pass by itself.
    fn summary(&self) -> Option<Summary> {
        let error = match self {
            Failure::Read(failure) => &failure.error,
            Failure::Report(error) => error,
        };
        status::objection(self, error)
    }
}

/// Reads, validates, decides and reports.
pub(super) async fn reconcile(
    dataset: Arc<Dataset>,
    watched: Arc<Watched>,
) -> Result<Action, Failure> {
    let result = steps(&dataset, &watched).await;
    if let Err(failure) = &result
        && let Some(summary) = failure.summary()
    {
        report::summary(&watched.context, &dataset, &summary, Timestamp::now())
            .await
            .map_err(Failure::Report)?;
    }
    result
}

async fn steps(dataset: &Arc<Dataset>, watched: &Watched) -> Result<Action, Failure> {
    match validate::validate(&dataset.spec) {
        Ok(Wanted::Claims(wanted)) => look_at_claims(dataset, watched, &wanted).await,
        Ok(Wanted::Hdfs(wanted)) => look_at_hdfs(dataset, watched, &wanted).await,
        Err(invalid) => {
            let summary = Summary {
                progress: Progress::Stalled,
                reason: reason::INVALID_PARAMETERS,
                message: invalid.to_string(),
            };
            let locations = &watched.context.locations;
            locations.failed(&key(dataset), &uid(dataset), &summary.message, None);
            report::summary(&watched.context, dataset, &summary, Timestamp::now())
                .await
                .map_err(Failure::Report)?;
            Ok(Action::await_change())
        }
    }
}

async fn look_at_claims(
    dataset: &Dataset,
    watched: &Watched,
    wanted: &WantedClaims,
) -> Result<Action, Failure> {
    let now = Timestamp::now();
    watched.scans.forget(&uid(dataset));
    let namespace = dataset.namespace().unwrap_or_default();
    let (found, nodes) = read::claims(&watched.context.cluster, &namespace, wanted);
    let finding = claims::find(&namespace, wanted, &found, &nodes);
    tell(dataset, dataset.status.as_ref(), watched, &finding, now).await?;
    Ok(Action::requeue(LOOK_AGAIN))
}

async fn look_at_hdfs(
    dataset: &Arc<Dataset>,
    watched: &Watched,
    wanted: &WantedHdfs,
) -> Result<Action, Failure> {
    let context = &watched.context;
    let remembered = watched.scans.of(&uid(dataset));
    let mut scanned = remembered.lock().await;
    let afresh = scanned.keep_only(wanted);
    let generation = dataset.metadata.generation;
    let mut status = dataset.status.clone();
    if scanned.is_due(generation) {
        if afresh {
            let locations = &context.locations;
            locations.scanning(&key(dataset), &uid(dataset), Timestamp::now());
        }
        let observed = status.as_ref().and_then(|found| found.observed_generation);
        if scanned.is_first() && observed != generation {
            let told = report::scanning(context, dataset, wanted.paths.len(), Timestamp::now());
            status = Some(told.await.map_err(Failure::Report)?);
        }
        tokio::select! {
            done = scan(dataset, watched, wanted, &mut scanned) => done?,
            () = overtaken(dataset, watched) => {
                forget_if_gone(dataset, watched);
                return Ok(Action::await_change());
            }
            () = watched.stop.cancelled() => return Ok(Action::await_change()),
        }
    }
    let nodes = context.cluster.nodes.store().state();
    let pods = read::pods(&context.cluster, wanted);
    let finding = hdfs::find(wanted, &scanned, &nodes, &pods);
    let begun = scanned.begun.unwrap_or_else(Timestamp::now);
    tell(dataset, status.as_ref(), watched, &finding, begun).await?;
    let due = scanned.due.map(|(_, due)| due);
    Ok(due.map_or_else(Action::await_change, |due| {
        Action::requeue(due.saturating_duration_since(Instant::now()))
    }))
}

/// Scans when there is room, and says when to do so next.
async fn scan(
    dataset: &Dataset,
    watched: &Watched,
    wanted: &WantedHdfs,
    scanned: &mut Scanned,
) -> Result<(), Failure> {
    let namespace = dataset.namespace().unwrap_or_default();
    let Some(_turn) = watched.scans.turns.turn(&namespace).await else {
        return Ok(());
    };
    let started = Instant::now();
    let authorities = read::authorities(&watched.context, &namespace, wanted).await?;
    let prepared = match authorities {
        Ok(authorities) => watched
            .policy
            .get()
            .await
            .map(|policy| (authorities, policy)),
        Err(failure) => Err(failure),
    };
    let effort = match prepared {
        Ok((authorities, policy)) => {
            let now = Timestamp::now();
            scanned.scan(wanted, authorities, policy, now).await
        }
        Err(failure) => {
            scanned.failure = Some(failure);
            None
        }
    };
    let result = match () {
        () if scanned.failure.is_some() => metrics::Result::Failed,
        () if !scanned.problems.is_empty() => metrics::Result::Incomplete,
        () => metrics::Result::Succeeded,
    };
    let counters = &watched.context.metrics.scans;
    counters.scanned(result, effort, started.elapsed());
    let pause = match scanned.may_pass() {
        true => watched.failing.failed(uid(dataset)),
        false => {
            watched.failing.reset(&uid(dataset));
            wanted.interval
        }
    };
    scanned.due = Some((dataset.metadata.generation, Instant::now() + pause));
    Ok(())
}

/// Waits until a Dataset is gone, or asks for something else.
async fn overtaken(dataset: &Arc<Dataset>, watched: &Watched) {
    let mut changes = watched.context.lookup.datasets().changes();
    loop {
        let same = current(dataset, watched).is_some_and(|current| {
            current.metadata.generation == dataset.metadata.generation
                && current.metadata.deletion_timestamp.is_none()
        });
        if !same || changes.next().await.is_none() {
            return;
        }
    }
}

/// A Dataset as it is now, unless it is gone.
fn current(dataset: &Dataset, watched: &Watched) -> Option<Arc<Dataset>> {
    let (namespace, name) = (dataset.namespace().unwrap_or_default(), dataset.name_any());
    let current = watched.context.lookup.datasets().get(&namespace, &name);
    current.filter(|current| current.uid() == dataset.uid())
}

/// Forgets a Dataset that is gone; whether it is. One that was deleted meanwhile may have been
/// forgotten before what is known now was written down.
fn forget_if_gone(dataset: &Dataset, watched: &Watched) -> bool {
    let gone = current(dataset, watched).is_none();
    if gone {
        watched.scans.forget(&uid(dataset));
        watched.failing.reset(&uid(dataset));
        watched.context.locations.forget(&key(dataset));
    }
    gone
}

/// Tells those who place pods, and the status.
async fn tell(
    dataset: &Dataset,
    status: Option<&DatasetStatus>,
    watched: &Watched,
    finding: &Finding,
    begun: Timestamp,
) -> Result<(), Failure> {
    let context = &watched.context;
    let (key, uid) = (key(dataset), uid(dataset));
    let located = finding.places.as_ref().map(|places| &places.located);
    match (&finding.trouble, located) {
        (Some(trouble), last_known) if trouble.unanswered => {
            let why = &trouble.summary.message;
            context.locations.failed(&key, &uid, why, last_known);
        }
        (_, Some(located)) => context.locations.located(&key, &uid, located, begun),
        (_, None) => {}
    }
    if forget_if_gone(dataset, watched) {
        return Ok(());
    }
    let _permit = watched.looks.acquire().await;
    report::finding(context, dataset, status, finding, begun, Timestamp::now())
        .await
        .map_err(Failure::Report)
}

fn key(dataset: &Dataset) -> DatasetKey {
    DatasetKey {
        namespace: dataset.namespace().unwrap_or_default(),
        name: dataset.name_any(),
    }
}

fn uid(dataset: &Dataset) -> String {
    dataset.uid().unwrap_or_default()
}
