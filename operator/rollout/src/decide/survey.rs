//! How things stand, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;
use outrigger_api::{RESUME_ANNOTATION, UpdateStrategy};
use outrigger_control::Slot;
use outrigger_plan::{ControllerKind, revision_name};

use super::Observed;
use crate::pod::carriers;
use crate::revision::KnownRevision;
use crate::trial::{Place, Trials, Trying};
use crate::{Consumers, SwapPod};

/// A sidecar's pods and revisions.
pub(super) struct Survey<'a> {
    /// Name of the sidecar.
    pub(super) name: String,
    /// Its pods, sorted by name.
    pub(super) pods: Arc<[SwapPod]>,
    /// What is wrong with pods that cannot be understood.
    pub(super) wrong: Vec<String>,
    /// Who uses the sidecar.
    pub(super) consumers: Consumers<'a>,
    /// The ControllerRevisions, by name.
    pub(super) known: BTreeMap<String, KnownRevision>,
    /// The revision of the spec.
    pub(super) update: KnownRevision,
    /// The revision that new pods get, and that pods go back to.
    pub(super) current: KnownRevision,
    /// How pods are brought to the spec's revision, a resumed stage being a hot swap.
    pub(super) strategy: UpdateStrategy,
    /// UIDs of the pods that are to get the spec's revision.
    pub(super) follows: BTreeSet<String>,
    lost_nodes: &'a BTreeSet<String>,
    /// The digests with which revisions run in pods.
    digests: BTreeMap<String, String>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(seen: &Observed<'a>) -> Survey<'a> {
        let name = seen.sidecar.name_any();
        let (pods, wrong) = carriers(seen.pods.iter().map(AsRef::as_ref), &name);
        let known: BTreeMap<_, _> = seen
            .revisions
            .iter()
            .filter_map(KnownRevision::read)
            .map(|revision| (revision.name.clone(), revision))
            .collect();
        let update = update(seen, &name, &known);
        let mut survey = Survey {
            current: update.clone(),
            strategy: strategy(seen, &update),
            update,
            wrong,
            follows: BTreeSet::new(),
            lost_nodes: seen.lost_nodes,
            digests: digests(&pods),
            pods: pods.into(),
            consumers: Consumers::new(seen.applications, seen.shared),
            known,
            name,
        };
        survey.current = survey.current(seen);
        survey.follows = survey.follows(seen);
        survey
    }

    /// Hash of the document that a pod's slots are to use, if they can find it.
    pub(super) fn config(&self, pod: &SwapPod) -> Option<&'a str> {
        self.consumers.config(&pod.consumer)
    }

    /// Whether the swap of a pod has begun and can go on.
    pub(super) fn is_in_swap(&self, pod: &SwapPod) -> bool {
        pod.is_swapping() && !pod.deleting && !self.is_lost(pod)
    }

    /// Whether a pod is on a node that is not Ready: nothing reaches it there.
    pub(super) fn is_lost(&self, pod: &SwapPod) -> bool {
        let node = pod.node.as_ref();
        node.is_some_and(|node| self.lost_nodes.contains(node))
    }

    /// Whether a pod can have the spec's revision, now or later.
    fn is_eligible(&self, pod: &SwapPod) -> bool {
        !pod.deleting && !self.is_spared(pod) && self.consumers.resident(&pod.consumer).is_some()
    }

    /// Whether a pod keeps its revision for its Job's sake.
    fn is_spared(&self, pod: &SwapPod) -> bool {
        match self.strategy {
            // Its Job would count the eviction as a failure.
            UpdateStrategy::Recreate => {
                let controller = pod.controller.as_ref().map(ControllerKind::of);
                controller == Some(ControllerKind::Job)
            }
            _ => pod.job_counts_restarts,
        }
    }

    /// Whether a pod has not the spec's revision, and may turn out to be one that can have it.
    pub(super) fn is_held(&self, pod: &SwapPod) -> bool {
        !pod.has_both(&self.update.name)
            && !pod.deleting
            && !self.is_spared(pod)
            && self.consumers.is_unknown(&pod.consumer)
    }

    /// Whether a pod could have the spec's revision and has not.
    pub(super) fn is_behind(&self, pod: &SwapPod) -> bool {
        !pod.has_both(&self.update.name) && self.is_eligible(pod)
    }

    /// The pods that are to get the spec's revision: the first by name, those that have begun before
    /// all others, and as many as the partition leaves.
    fn follows(&self, seen: &Observed<'_>) -> BTreeSet<String> {
        if self.strategy == UpdateStrategy::Staged {
            return BTreeSet::new();
        }
        let eligible = self.pods.iter().filter(|pod| self.is_eligible(pod));
        let (updated, mut behind): (Vec<_>, Vec<_>) =
            eligible.partition(|pod| pod.has_both(&self.update.name));
        let partition = seen.sidecar.spec.effective_update().partition;
        let total = updated.len() + behind.len();
        let kept = partition.rounded_up(total);
        behind.sort_by_key(|pod| !pod.has(&self.update.name));
        let room = total.saturating_sub(kept + updated.len());
        behind
            .into_iter()
            .take(room)
            .map(|pod| pod.uid.clone())
            .collect()
    }

    /// The revision that a pod in the middle of a swap is brought to.
    ///
    /// It is the spec's when that may be used, or has begun to be; otherwise the nearer of the two
    /// that the pod has, so that its swap ends, and a failed one only gives way.
    pub(super) fn end_of(&self, pod: &SwapPod, tried: bool) -> KnownRevision {
        let update = &self.update;
        let follows = tried && self.follows.contains(&pod.uid);
        if !update.is_failed_for(pod) && (follows || pod.has(&update.name)) {
            return self.with_digest(update.clone());
        }
        let active = pod.order.active;
        let ends = [active, active.peer()].map(|slot| self.revision_of(pod, slot));
        let good = ends.into_iter().find(|end| !end.is_failed_for(pod));
        good.unwrap_or_else(|| self.with_digest(self.current.clone()))
    }

    /// The revision that a pod at rest is to have instead of its own, if there is one.
    pub(super) fn next_of(
        &self,
        pod: &SwapPod,
        tried: bool,
        rolls_back: bool,
    ) -> Option<KnownRevision> {
        let update = &self.update;
        if !update.is_failed_for(pod) {
            let follows = tried && self.follows.contains(&pod.uid);
            return follows.then(|| update.clone());
        }
        let goes_back = rolls_back
            && update.is_taken_from(pod)
            && self.can_go_back()
            && pod.has_both(&update.name)
            && self.is_eligible(pod);
        goes_back.then(|| self.with_digest(self.current.clone()))
    }

    /// Whether there is a former revision that has not failed.
    pub(super) fn can_go_back(&self) -> bool {
        self.current.name != self.update.name && self.current.failed.is_none()
    }

    /// The revision of a slot, from its image if nobody knows it any more.
    pub(super) fn revision_of(&self, pod: &SwapPod, slot: Slot) -> KnownRevision {
        let name = pod.order.revision.of(slot);
        let known = [&self.update, &self.current]
            .into_iter()
            .find(|revision| revision.name == *name)
            .or_else(|| self.known.get(name));
        let revision = known.cloned().unwrap_or_else(|| KnownRevision {
            name: name.clone(),
            image: pod.slots.of(slot).image.clone(),
            digest: None,
            failed: None,
            failed_in: BTreeMap::new(),
            number: 0,
        });
        self.with_digest(revision)
    }

    /// How the preflights of the spec's revision stand, or those that are left of it.
    pub(super) fn trials(&self, seen: &Observed<'_>) -> Trials {
        let trying = Trying {
            revision: &self.update,
            places: self.places(seen),
            consumers: &self.consumers,
            pods: seen.trials,
            now: seen.now,
        };
        trying.look()
    }

    /// A revision that went without a preflight has the digest with which it runs in pods. Without
    /// one, a slot would return to an image string that it had before.
    fn with_digest(&self, mut revision: KnownRevision) -> KnownRevision {
        if revision.digest.is_none() {
            revision.digest = self.digests.get(&revision.name).cloned();
        }
        revision
    }

    fn current(&self, seen: &Observed<'_>) -> KnownRevision {
        let update = &self.update;
        let status = seen.sidecar.status.as_ref();
        let recorded = status.and_then(|status| status.current_revision.as_ref());
        let Some(recorded) = recorded else {
            return self.commonest().unwrap_or_else(|| update.clone());
        };
        if recorded.name == update.name {
            return update.clone();
        }
        let kept = self.known.get(&recorded.name).cloned();
        let mut current = kept.unwrap_or_else(|| KnownRevision {
            name: recorded.name.clone(),
            image: recorded.image.clone(),
            digest: None,
            failed: None,
            failed_in: BTreeMap::new(),
            number: 0,
        });
        current.digest = current.digest.or_else(|| recorded.digest.clone());
        let in_use = self.pods.iter().any(|pod| pod.has(&current.name));
        // What was never seen to run, and does not, is not worth going back to.
        match current.digest.is_none() && !in_use && update.failed.is_none() {
            true => update.clone(),
            false => current,
        }
    }

    /// Without a status: the revision that most pods serve with.
    fn commonest(&self) -> Option<KnownRevision> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for pod in self.pods.iter() {
            let name = pod.order.revision.of(pod.order.active).as_str();
            *counts.entry(name).or_default() += 1;
        }
        counts
            .into_iter()
            .filter_map(|(name, count)| Some((count, self.known.get(name)?)))
            .filter(|(_, revision)| revision.failed.is_none())
            .max_by_key(|(count, revision)| (*count, revision.number))
            .map(|(_, revision)| revision.clone())
    }

    /// Where the spec's image is to be tried.
    fn places(&self, seen: &Observed<'_>) -> BTreeSet<Place> {
        let status = seen.sidecar.status.as_ref();
        let staged = status.and_then(|status| status.new_pod_revision.as_ref());
        let is_staged = self.strategy == UpdateStrategy::Staged
            && staged.is_some_and(|staged| staged.name == self.update.name);
        if self.update.failed.is_some() || is_staged {
            return BTreeSet::new();
        }
        let waits = |pod: &&SwapPod| match self.strategy {
            UpdateStrategy::Staged => self.is_behind(pod),
            _ => self.follows.contains(&pod.uid),
        };
        let waiting = self.pods.iter().filter(waits);
        let reachable = waiting.filter(|pod| !self.is_lost(pod) && !self.update.is_failed_for(pod));
        let nodes: BTreeSet<Place> = reachable
            .filter_map(|pod| Some((pod.consumer.clone(), Some(pod.node.clone()?))))
            .collect();
        if !nodes.is_empty() || self.update.digest.is_some() {
            return nodes;
        }
        // Nobody waits for it yet: any node will tell whether it can be used.
        let first = self.consumers.first().map(|consumer| (consumer, None));
        first.into_iter().collect()
    }
}

fn digests(pods: &[SwapPod]) -> BTreeMap<String, String> {
    let mut digests = BTreeMap::new();
    for pod in pods {
        for slot in Slot::BOTH {
            if let Some(digest) = &pod.slots.of(slot).container.digest {
                let name = pod.order.revision.of(slot).clone();
                digests.entry(name).or_insert_with(|| digest.clone());
            }
        }
    }
    digests
}

fn strategy(seen: &Observed<'_>, update: &KnownRevision) -> UpdateStrategy {
    let asked = seen.sidecar.spec.effective_update().strategy;
    let resumed = seen.sidecar.annotations().get(RESUME_ANNOTATION);
    match asked {
        UpdateStrategy::Staged if resumed == Some(&update.name) => UpdateStrategy::HotSwap,
        asked => asked,
    }
}

fn update(
    seen: &Observed<'_>,
    sidecar: &str,
    known: &BTreeMap<String, KnownRevision>,
) -> KnownRevision {
    let image = &seen.sidecar.spec.image;
    let name = revision_name(sidecar, image);
    let highest = known.values().map(|known| known.number).max().unwrap_or(0);
    known.get(&name).cloned().unwrap_or_else(|| KnownRevision {
        name,
        image: image.clone(),
        digest: None,
        failed: None,
        failed_in: BTreeMap::new(),
        number: highest + 1,
    })
}
