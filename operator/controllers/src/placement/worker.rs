use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::ApplicationKey;
use super::placer::Placer;
use super::triggers::{self, Request};
use crate::context::Context;
use crate::drive::counted;
use crate::metrics::Controller;

/// What changes somewhere in the cluster may free room. It changes often, so applications whose
/// pods wait for it are looked at with so much of a pause.
const SOON: SignedDuration = SignedDuration::from_secs(1);
/// The pause is at least so many times what the last look took: in a large cluster, applications
/// that wait for room leave most of the time to those whose pods arrive.
const REST: i32 = 20;
/// Nothing is due for so long, if nothing is.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    // Half of the pods would leave room that is taken.
    if stop.run_until_cancelled(context.pods_synced()).await != Some(true) {
        return;
    }
    let mut requests = std::pin::pin!(triggers::requests(&context));
    let mut worker = Worker::new(Arc::clone(&context));
    let mut synced = std::pin::pin!(context.cluster.synced().fuse());
    loop {
        let pause = worker.pause(Timestamp::now());
        tokio::select! {
            () = stop.cancelled() => return,
            Some(request) = requests.next() => worker.take(request),
            known = &mut synced, if !worker.placer.cluster_known => worker.know(known),
            () = tokio::time::sleep(pause) => {}
        }
        // What came meanwhile is looked at once.
        while let Some(Some(request)) = requests.next().now_or_never() {
            worker.take(request);
        }
        worker.take_due(Timestamp::now());
        if let Some(key) = worker.queue.pop_first()
            && stop.run_until_cancelled(worker.place(&key)).await.is_none()
        {
            return;
        }
    }
}

/// Which applications are looked at, and when.
struct Worker {
    context: Arc<Context>,
    placer: Placer,
    queue: BTreeSet<ApplicationKey>,
    /// When to look at an application again, if nothing changes before.
    due: BTreeMap<ApplicationKey, Timestamp>,
    /// How long the last look took.
    last_took: SignedDuration,
}

impl Worker {
    fn new(context: Arc<Context>) -> Worker {
        Worker {
            placer: Placer::new(Arc::clone(&context), Timestamp::now()),
            context,
            queue: BTreeSet::new(),
            due: BTreeMap::new(),
            last_took: SignedDuration::ZERO,
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Application(key) => drop(self.queue.insert(key)),
            Request::Waiting => {
                let waiting = self.context.standings.waiting();
                let all = i32::try_from(waiting.len()).unwrap_or(i32::MAX);
                let rest = self.last_took.saturating_mul(REST.saturating_mul(all));
                let soon = Timestamp::now() + SOON.max(rest);
                for key in waiting {
                    self.look_by(key, soon);
                }
            }
        }
    }

    fn know(&mut self, known: bool) {
        self.placer.cluster_known = known;
        let all = self.context.lookup.applications().store().state();
        let with_data = all.iter().filter(|found| found.spec.data.is_some());
        self.queue
            .extend(with_data.map(|found| ApplicationKey::of(found)));
    }

    fn look_by(&mut self, key: ApplicationKey, at: Timestamp) {
        let due = self.due.entry(key).or_insert(at);
        *due = (*due).min(at);
    }

    /// How long nothing has to be done.
    fn pause(&self, now: Timestamp) -> Duration {
        if !self.queue.is_empty() {
            return Duration::ZERO;
        }
        let next = self.due.values().min();
        let pause = next.map(|next| next.duration_since(now));
        pause.map_or(IDLE, |pause| Duration::try_from(pause).unwrap_or_default())
    }

    fn take_due(&mut self, now: Timestamp) {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        self.queue.extend(due.map(|(key, _)| key.clone()));
    }

    /// Looks at one application.
    async fn place(&mut self, key: &ApplicationKey) {
        let started = Instant::now();
        self.due.remove(key);
        let backoff = format!("{}/{}", key.namespace, key.name);
        let work = self.placer.place(key);
        let placed = counted(&self.context, Controller::Placement, backoff.clone(), work).await;
        match placed {
            Ok(None) => {}
            Ok(Some(next)) => self.look_by(key.clone(), next),
            Err(error) => {
                let pause = self
                    .context
                    .backoffs
                    .failed((Controller::Placement, backoff));
                let (namespace, name) = (&key.namespace, &key.name);
                tracing::warn!(%error, namespace, name, "pods not placed; trying again in {} s", pause.as_secs());
                let pause = SignedDuration::try_from(pause).unwrap_or(SOON);
                self.look_by(key.clone(), Timestamp::now() + pause);
            }
        }
        self.last_took = SignedDuration::try_from(started.elapsed()).unwrap_or(SOON);
    }
}
