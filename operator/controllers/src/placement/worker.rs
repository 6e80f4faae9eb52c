use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use jiff::{SignedDuration, Timestamp};
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_placement::{
    AskedFor, Avoided, Decision, Explanation, Release, Replacement, Situation, Waiting, conflict,
    decide, is_gated, let_go, open, takes_room,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::apply::{self, Written};
use super::assumed::Assumed;
use super::metrics::Placed;
use super::triggers::{self, Request};
use super::{ApplicationKey, Standing, read, story};
use crate::context::Context;
use crate::metrics::{Controller, Outcome};

/// Nodes and volumes that cannot be read keep a pod at the gate for so long.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// What changes somewhere in the cluster may free room. It changes often, so applications whose
/// pods wait for it are looked at with so much of a pause.
const SOON: SignedDuration = SignedDuration::from_secs(1);
/// The status has so long to say which nodes are avoided before a pod is deleted all the same.
const KEPT_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// A pod whose patch was refused so often is let go without a node.
const REFUSALS: u32 = 3;

/// Runs the controller until `stop`.
pub(crate) async fn run(context: Arc<Context>, stop: CancellationToken) {
    // Half of the pods would leave room that is taken.
    if stop.run_until_cancelled(context.synced()).await != Some(true) {
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
            known = &mut synced, if !worker.cluster_known => worker.know(known),
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

struct Worker {
    context: Arc<Context>,
    leading_since: Timestamp,
    /// Whether nodes, volumes and all pods are known.
    cluster_known: bool,
    queue: BTreeSet<ApplicationKey>,
    /// When to look at an application again, if nothing changes before.
    due: BTreeMap<ApplicationKey, Timestamp>,
    assumed: Assumed,
    avoided: BTreeMap<ApplicationKey, Vec<Avoided>>,
    /// When a pod at the gate was seen first, by UID.
    seen: HashMap<String, Instant>,
    /// How often the patch of a pod was refused, by UID.
    refused: HashMap<String, u32>,
    /// When the deletion of a pod was decided first, by UID.
    to_delete: HashMap<String, Timestamp>,
}

impl Worker {
    fn new(context: Arc<Context>) -> Worker {
        Worker {
            context,
            leading_since: Timestamp::now(),
            cluster_known: false,
            queue: BTreeSet::new(),
            due: BTreeMap::new(),
            assumed: Assumed::default(),
            avoided: BTreeMap::new(),
            seen: HashMap::new(),
            refused: HashMap::new(),
            to_delete: HashMap::new(),
        }
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Application(key) => drop(self.queue.insert(key)),
            Request::Waiting => {
                let soon = Timestamp::now() + SOON;
                for key in self.context.standings.waiting() {
                    self.look_by(key, soon);
                }
            }
        }
    }

    fn know(&mut self, known: bool) {
        self.cluster_known = known;
        self.queue.extend(self.context.standings.waiting());
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
        pause.map_or(Duration::from_secs(3600), |pause| {
            Duration::try_from(pause).unwrap_or_default()
        })
    }

    fn take_due(&mut self, now: Timestamp) {
        let due = self.due.iter().filter(|(_, at)| **at <= now);
        self.queue.extend(due.map(|(key, _)| key.clone()));
    }

    /// Looks at one application.
    async fn place(&mut self, key: &ApplicationKey) {
        let started = Instant::now();
        self.due.remove(key);
        let backoff = format!("placement {}/{}", key.namespace, key.name);
        let outcome = match self.steps(key).await {
            Ok(next) => {
                self.context.backoffs.reset(&backoff);
                if let Some(next) = next {
                    self.look_by(key.clone(), next);
                }
                Outcome::Succeeded
            }
            Err(error) => {
                let pause = self.context.backoffs.failed(backoff);
                let (namespace, name) = (&key.namespace, &key.name);
                tracing::warn!(%error, namespace, name, "pods not placed; trying again in {} s", pause.as_secs());
                let pause = SignedDuration::try_from(pause).unwrap_or(PATIENCE);
                self.look_by(key.clone(), Timestamp::now() + pause);
                Outcome::Failed
            }
        };
        let metrics = &self.context.metrics;
        metrics.count(Controller::Placement, outcome, started.elapsed());
    }

    /// Reads, decides, applies and publishes. When to look again.
    async fn steps(&mut self, key: &ApplicationKey) -> Result<Option<Timestamp>, kube::Error> {
        let now = Timestamp::now();
        let pods = self.assumed.over(&self.context.pods);
        self.forget(&pods);
        let of_key = |pod: &&Arc<Pod>| ApplicationKey::of_pod(pod).as_ref() == Some(key);
        let own: Vec<_> = pods.iter().filter(of_key).cloned().collect();
        for uid in own
            .iter()
            .filter(|pod| is_gated(pod))
            .filter_map(|pod| pod.uid())
        {
            self.seen.entry(uid).or_insert_with(Instant::now);
        }
        let found = self
            .context
            .lookup
            .applications()
            .store()
            .get(&key.reference());
        let living = found.filter(|found| found.metadata.deletion_timestamp.is_none());
        let Some(application) = living.filter(|found| found.spec.data.is_some()) else {
            let why = "its IntegratedApp is gone, or names no data, so it may run anywhere";
            for release in own.iter().filter_map(|pod| let_go(pod, why, now)) {
                if let Some(pod) = by_uid(&own, &release.uid) {
                    self.open(None, pod, &release.patch, why).await?;
                }
            }
            self.avoided.remove(key);
            self.context.standings.publish(key, None);
            return Ok(None);
        };
        if !self.cluster_known {
            return self.without_nodes(key, &application, &own, now).await;
        }
        let avoided = self.avoided_by(key, &application);
        let context = Arc::clone(&self.context);
        let situation = read::situation(
            &context,
            &application,
            &pods,
            avoided,
            self.leading_since,
            now,
        )
        .await;
        let Decision {
            releases,
            replacements,
            waiting,
            avoided,
            deadline,
        } = decide(&situation);
        self.avoided.insert(key.clone(), avoided.clone());
        let standing = Standing {
            waiting: waiting
                .into_iter()
                .filter(|found| tells(found, &own))
                .collect(),
            avoided: avoided.clone(),
            conflicts: conflicts(&situation),
        };
        // First, so that the status keeps what has to outlive us.
        context.standings.publish(key, Some(standing));
        for release in &releases {
            if let Some(pod) = by_uid(&own, &release.uid) {
                self.release(&application, pod, release).await?;
            }
        }
        let mut next = deadline;
        for replacement in &replacements {
            let Some(pod) = by_uid(&own, &replacement.uid) else {
                continue;
            };
            let decided = *self.to_delete.entry(replacement.uid.clone()).or_insert(now);
            let kept = triggers::kept(&application);
            let is_kept = avoided.iter().all(|avoided| kept.contains(&avoided.node));
            if is_kept || decided + KEPT_WITHIN <= now {
                self.replace(&application, pod, replacement).await?;
            } else {
                let by = decided + KEPT_WITHIN;
                next = Some(next.map_or(by, |next| next.min(by)));
            }
        }
        Ok(next)
    }

    /// The nodes to avoid as the last decision said, or as the status kept them.
    fn avoided_by(&self, key: &ApplicationKey, application: &IntegratedApp) -> Vec<Avoided> {
        if let Some(known) = self.avoided.get(key) {
            return known.clone();
        }
        let status = application.status.as_ref();
        let placement = status.and_then(|status| status.placement.as_ref());
        let kept = placement.into_iter().flat_map(|found| &found.avoided);
        let nodes = &self.context.cluster.nodes;
        let restored = kept.filter_map(|kept| {
            let since = kept.since.as_ref()?.0;
            let mut nodes = nodes.store().state().into_iter();
            let node = nodes.find(|node| node.name_any() == kept.node)?;
            let created = node.creation_timestamp().map(|created| created.0);
            let same = created.is_none_or(|created| created <= since);
            same.then(|| Avoided {
                node: kept.node.clone(),
                node_uid: node.uid().unwrap_or_default(),
                reason: kept.reason.clone(),
                since,
                first_attempt: since,
            })
        });
        restored.collect()
    }

    /// Nodes or volumes cannot be read, so nothing can be decided.
    async fn without_nodes(
        &mut self,
        key: &ApplicationKey,
        application: &IntegratedApp,
        own: &[Arc<Pod>],
        now: Timestamp,
    ) -> Result<Option<Timestamp>, kube::Error> {
        let mut waiting = Vec::new();
        for pod in own.iter().filter(|pod| is_gated(pod)) {
            let created = pod.creation_timestamp().map(|created| created.0);
            let since = created.map_or(self.leading_since, |at| at.max(self.leading_since));
            let until = since + PATIENCE;
            if until <= now {
                let why =
                    "the nodes and volumes of the cluster cannot be read, so it may run anywhere";
                if let Some(release) = let_go(pod, why, now) {
                    self.open(Some(application), pod, &release.patch, why)
                        .await?;
                }
                continue;
            }
            waiting.push(Waiting {
                pod: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                gated: true,
                reason: format!(
                    "the nodes and volumes of the cluster are still to be read; it goes without a decision at {until:.0}"
                ),
                until: Some(until),
            });
        }
        waiting.sort_by(|one, other| one.pod.cmp(&other.pod));
        let next = waiting.iter().filter_map(|pod| pod.until).min();
        let avoided = self.avoided_by(key, application);
        let standing = Standing {
            waiting,
            avoided,
            conflicts: Vec::new(),
        };
        self.context.standings.publish(key, Some(standing));
        Ok(next)
    }

    async fn release(
        &mut self,
        application: &IntegratedApp,
        pod: &Pod,
        release: &Release,
    ) -> Result<(), kube::Error> {
        match apply::release(&self.context.client, pod, &release.patch).await? {
            Written::Gone => {}
            Written::Done(patched) => {
                let mode = read::locality(application).mode;
                let told = story::released(pod, mode, &release.explanation);
                self.let_go(patched, Placed::from(release.explanation.mode));
                self.context
                    .events
                    .publish(&application.object_ref(&()), &told)
                    .await;
            }
            Written::Refused(error) => {
                let uid = release.uid.clone();
                let refused = self.refused.entry(uid).or_default();
                *refused += 1;
                // A pod that somebody else changed meanwhile is decided anew.
                if *refused < REFUSALS {
                    return Err(error);
                }
                if let Some(patch) = open(pod) {
                    let why = format!("its affinity cannot be written: {error}");
                    self.open(Some(application), pod, &patch, &why).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes the gate off a pod without sending it anywhere.
    async fn open(
        &mut self,
        application: Option<&IntegratedApp>,
        pod: &Pod,
        patch: &Patch,
        why: &str,
    ) -> Result<(), kube::Error> {
        match apply::release(&self.context.client, pod, patch).await? {
            Written::Gone => Ok(()),
            Written::Refused(error) => Err(error),
            Written::Done(patched) => {
                let told = story::let_go(pod, why);
                tracing::warn!(
                    namespace = pod.namespace().unwrap_or_default(),
                    pod = pod.name_any(),
                    why,
                    "pod let go without a node"
                );
                self.let_go(patched, Placed::Anywhere);
                if let Some(application) = application {
                    self.context
                        .events
                        .publish(&application.object_ref(&()), &told)
                        .await;
                }
                Ok(())
            }
        }
    }

    fn let_go(&mut self, patched: Pod, placed: Placed) {
        let metrics = &self.context.metrics.placements;
        metrics.count(placed);
        let seen = patched.uid().and_then(|uid| self.seen.remove(&uid));
        if let Some(seen) = seen {
            metrics.waited(seen.elapsed());
        }
        self.assumed.released(patched);
    }

    async fn replace(
        &mut self,
        application: &IntegratedApp,
        pod: &Pod,
        replacement: &Replacement,
    ) -> Result<(), kube::Error> {
        match apply::delete(&self.context.client, pod).await? {
            Written::Gone => Ok(()),
            Written::Refused(error) => Err(error),
            Written::Done(()) => {
                self.context.metrics.placements.count(Placed::Replaced);
                let told = story::replaced(pod, replacement);
                self.context
                    .events
                    .publish(&application.object_ref(&()), &told)
                    .await;
                Ok(())
            }
        }
    }

    /// Forgets pods that are gone.
    fn forget(&mut self, pods: &[Arc<Pod>]) {
        let living: HashSet<_> = pods.iter().filter_map(|pod| pod.uid()).collect();
        self.seen.retain(|uid, _| living.contains(uid));
        self.refused.retain(|uid, _| living.contains(uid));
        self.to_delete.retain(|uid, _| living.contains(uid));
    }
}

/// Whether it is worth telling that a pod waits: it is at the gate, or the scheduler has tried. One
/// that was let go a moment ago is bound as a rule before anybody reads that it is not.
fn tells(waiting: &Waiting, pods: &[Arc<Pod>]) -> bool {
    let tried = |pod: &Arc<Pod>| {
        let status = pod.status.as_ref();
        let mut conditions = status
            .into_iter()
            .flat_map(|status| status.conditions.iter().flatten());
        conditions.any(|found| {
            found.type_ == "PodScheduled" && found.reason.as_deref() == Some("Unschedulable")
        })
    };
    waiting.gated || by_uid(pods, &waiting.uid).is_some_and(tried)
}

/// The pods that no node can run, whatever is free, and why. A pod that was sent to one node has
/// its time for that.
fn conflicts(situation: &Situation) -> Vec<(String, String)> {
    let waits = situation.pods.iter().filter(|found| {
        let pod = &found.pod;
        let required = Explanation::of(pod)
            .and_then(Result::ok)
            .is_some_and(|explanation| explanation.mode == AskedFor::Required);
        takes_room(pod)
            && pod.metadata.deletion_timestamp.is_none()
            && read::node_of(pod).is_none()
            && !required
    });
    let mut conflicts: Vec<_> = waits
        .filter_map(|found| Some((found.pod.name_any(), conflict(found, &situation.nodes)?)))
        .collect();
    conflicts.sort();
    conflicts
}

fn by_uid<'a>(pods: &'a [Arc<Pod>], uid: &str) -> Option<&'a Arc<Pod>> {
    pods.iter()
        .find(|pod| pod.metadata.uid.as_deref() == Some(uid))
}
