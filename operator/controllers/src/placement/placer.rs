use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use futures::future::join_all;
use jiff::{SignedDuration, Timestamp};
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_placement::{
    Avoided, Decision, Locality, Release, Replacement, Waiting, decide, is_gated, let_go, open,
    takes_room,
};
use tokio::time::Instant;

use super::apply::{self, Written};
use super::assumed::Assumed;
use super::metrics::Placed;
use super::standing::{conflicts, tells};
use super::{ApplicationKey, Standing, read, story, triggers};
use crate::context::Context;

/// Nodes and volumes that cannot be read keep a pod at the gate for so long.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// It is not told that they are still to be read before a new leader has had so much time.
const UNTOLD: SignedDuration = SignedDuration::from_secs(5);
/// The status has so long to say which nodes are avoided before a pod is deleted all the same.
const KEPT_WITHIN: SignedDuration = SignedDuration::from_secs(30);
/// A pod whose patch was refused so often is let go without a node.
const REFUSALS: u32 = 3;
/// Writes at a time; the decision that they belong to is made.
const AT_A_TIME: usize = 16;

/// Places the pods of one application after another, and remembers what the mirrors do not show.
pub(super) struct Placer {
    context: Arc<Context>,
    leading_since: Timestamp,
    /// Whether nodes, volumes and all pods are known.
    pub(super) cluster_known: bool,
    assumed: Assumed,
    avoided: BTreeMap<ApplicationKey, Vec<Avoided>>,
    /// When a pod at the gate was seen first, by UID.
    seen: HashMap<String, Instant>,
    /// How often the patch of a pod was refused, by UID.
    refused: HashMap<String, u32>,
    /// Why a pod's gate cannot be taken off at all, by UID.
    unopened: HashMap<String, String>,
    /// When the deletion of a pod was decided first, by UID.
    to_delete: HashMap<String, Timestamp>,
}

impl Placer {
    pub(super) fn new(context: Arc<Context>, leading_since: Timestamp) -> Placer {
        Placer {
            context,
            leading_since,
            cluster_known: false,
            assumed: Assumed::default(),
            avoided: BTreeMap::new(),
            seen: HashMap::new(),
            refused: HashMap::new(),
            unopened: HashMap::new(),
            to_delete: HashMap::new(),
        }
    }

    /// Reads, decides, applies and publishes. When to look again.
    pub(super) async fn place(
        &mut self,
        key: &ApplicationKey,
    ) -> Result<Option<Timestamp>, kube::Error> {
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
            self.avoided.remove(key);
            self.context.standings.publish(key, None);
            let mut failure = None;
            for pod in &own {
                if let Some(release) = let_go(pod, why, now) {
                    let opened = self.open(None, pod, &release.patch, why).await;
                    failure = failure.or(opened.err());
                }
            }
            return failure.map_or(Ok(None), Err);
        };
        if !self.cluster_known {
            return self.without_nodes(key, &application, &own, now).await;
        }
        let avoided = self.avoided_by(key, &application);
        if avoided.is_empty() && own.iter().all(|pod| is_settled(pod)) {
            let standing = Some(Standing::default());
            self.context.standings.publish(key, standing);
            return Ok(None);
        }
        let context = Arc::clone(&self.context);
        let since = self.leading_since;
        let situation = read::situation(&context, &application, &pods, avoided, since, now).await;
        let Decision {
            releases,
            replacements,
            waiting,
            avoided,
            deadline,
        } = decide(&situation);
        self.avoided.insert(key.clone(), avoided.clone());
        let own = by_uid(&own);
        let told = waiting.into_iter().filter(|found| tells(found, &own));
        let told: Vec<_> = told.collect();
        let conflicts = conflicts(&situation);
        let standing = |placer: &Placer| {
            let unopened = releases.iter().filter_map(|pod| placer.unopened(pod));
            Standing {
                waiting: told.iter().cloned().chain(unopened).collect(),
                avoided: avoided.clone(),
                conflicts: conflicts.clone(),
            }
        };
        // First, so that the status keeps what has to outlive us.
        context.standings.publish(key, Some(standing(self)));
        let released = self.release(&application, &own, &releases).await;
        context.standings.publish(key, Some(standing(self)));
        released?;
        let kept = triggers::kept(&application);
        let is_kept = avoided.iter().all(|avoided| kept.contains(&avoided.node));
        let mut next = deadline;
        let mut failure = None;
        for replacement in &replacements {
            let Some(pod) = own.get(replacement.uid.as_str()) else {
                continue;
            };
            let decided = self.to_delete.entry(replacement.uid.clone()).or_insert(now);
            let by = *decided + KEPT_WITHIN;
            if is_kept || by <= now {
                let replaced = self.replace(&application, pod, replacement).await;
                failure = failure.or(replaced.err());
            } else {
                next = Some(next.map_or(by, |next| next.min(by)));
            }
        }
        failure.map_or(Ok(next), Err)
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
        let mut failure = None;
        for pod in own.iter().filter(|pod| is_gated(pod)) {
            let created = pod.creation_timestamp().map(|created| created.0);
            let since = created.map_or(self.leading_since, |at| at.max(self.leading_since));
            let until = since + PATIENCE;
            if until <= now {
                let why =
                    "the nodes and volumes of the cluster cannot be read, so it may run anywhere";
                if let Some(release) = let_go(pod, why, now) {
                    let opened = self.open(Some(application), pod, &release.patch, why).await;
                    failure = failure.or(opened.err());
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
        let worth_telling = self.leading_since + UNTOLD;
        if now < worth_telling {
            return failure.map_or(Ok(next.map(|next| next.min(worth_telling))), Err);
        }
        let standing = Standing {
            waiting,
            avoided: self.avoided_by(key, application),
            conflicts: Vec::new(),
        };
        self.context.standings.publish(key, Some(standing));
        failure.map_or(Ok(next), Err)
    }

    /// A pod that was to go and cannot, as one that waits.
    fn unopened(&self, release: &Release) -> Option<Waiting> {
        let why = self.unopened.get(&release.uid)?;
        Some(Waiting {
            pod: release.pod.clone(),
            uid: release.uid.clone(),
            gated: true,
            reason: format!("its gate cannot be taken off: {why}; it is tried again"),
            until: None,
        })
    }

    /// Lets pods go where they were planned. One that cannot be let go keeps no other one waiting.
    async fn release(
        &mut self,
        application: &IntegratedApp,
        own: &HashMap<&str, &Arc<Pod>>,
        releases: &[Release],
    ) -> Result<(), kube::Error> {
        let context = Arc::clone(&self.context);
        let mode = Locality::of(application.spec.locality.as_ref()).mode;
        let found = releases
            .iter()
            .filter_map(|release| Some((release, *own.get(release.uid.as_str())?)));
        let found: Vec<_> = found.collect();
        let mut written = Vec::new();
        for some in found.chunks(AT_A_TIME) {
            let writes = some
                .iter()
                .map(|(release, pod)| apply::release(&context.client, pod, &release.patch));
            written.extend(join_all(writes).await);
        }
        let mut stories = Vec::new();
        let mut failure = None;
        for ((release, pod), written) in found.into_iter().zip(written) {
            let error = match written {
                Ok(Written::Gone) => continue,
                Ok(Written::Done(patched)) => {
                    stories.push(story::released(pod, mode, &release.explanation));
                    self.let_go(patched, Placed::from(release.explanation.mode));
                    continue;
                }
                Ok(Written::Refused(error)) => error,
                Err(error) => {
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            let refused = self.refused.entry(release.uid.clone()).or_default();
            *refused += 1;
            // A pod that somebody else changed meanwhile is decided anew.
            if *refused < REFUSALS {
                failure = failure.or(Some(error));
            } else if let Some(patch) = open(pod) {
                let why = format!("its affinity cannot be written: {error}");
                let opened = self.open(Some(application), pod, &patch, &why).await;
                if let Err(error) = opened {
                    self.unopened.insert(release.uid.clone(), error.to_string());
                    failure = failure.or(Some(error));
                }
            }
        }
        let regarding = application.object_ref(&());
        for some in stories.chunks(AT_A_TIME) {
            let told = some
                .iter()
                .map(|story| context.events.publish(&regarding, story));
            join_all(told).await;
        }
        failure.map_or(Ok(()), Err)
    }

    /// Takes the gate off a pod without sending it anywhere. If the pod may not be told why, it goes
    /// all the same.
    async fn open(
        &mut self,
        application: Option<&IntegratedApp>,
        pod: &Pod,
        patch: &Patch,
        why: &str,
    ) -> Result<(), kube::Error> {
        let client = &self.context.client;
        let mut written = apply::release(client, pod, patch).await?;
        if let (Written::Refused(_), Some(bare)) = (&written, open(pod))
            && bare != *patch
        {
            written = apply::release(client, pod, &bare).await?;
        }
        match written {
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
        let uid = patched.uid().unwrap_or_default();
        self.unopened.remove(&uid);
        let seen = self.seen.remove(&uid);
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
        self.unopened.retain(|uid, _| living.contains(uid));
        self.to_delete.retain(|uid, _| living.contains(uid));
    }
}

fn by_uid(pods: &[Arc<Pod>]) -> HashMap<&str, &Arc<Pod>> {
    let pods = pods.iter();
    pods.filter_map(|pod| Some((pod.metadata.uid.as_deref()?, pod)))
        .collect()
}

/// Whether nothing is to be decided about a pod: it is on a node, or over.
fn is_settled(pod: &Pod) -> bool {
    read::node_of(pod).is_some() || !takes_room(pod)
}
