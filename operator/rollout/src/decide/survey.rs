//! How things stand, before anything is decided.

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use outrigger_control::Slot;
use outrigger_plan::revision_name;

use super::{Application, Observed};
use crate::SwapPod;
use crate::pod::carriers;
use crate::revision::KnownRevision;
use crate::trial::{Place, Trials, Trying};

/// A sidecar's pods and revisions.
pub(super) struct Survey<'a> {
    /// Name of the sidecar.
    pub(super) name: String,
    /// Its pods, sorted by name.
    pub(super) pods: Vec<SwapPod>,
    /// What is wrong with pods that cannot be understood.
    pub(super) wrong: Vec<String>,
    /// The applications, by name.
    pub(super) applications: BTreeMap<&'a str, &'a Application>,
    /// The ControllerRevisions, by name.
    pub(super) known: BTreeMap<String, KnownRevision>,
    /// The revision of the spec.
    pub(super) update: KnownRevision,
    /// The revision that new pods get.
    pub(super) current: KnownRevision,
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
            update,
            pods,
            wrong,
            applications: seen
                .applications
                .iter()
                .map(|application| (application.name.as_str(), application))
                .collect(),
            known,
            name,
        };
        survey.current = survey.current(seen);
        survey
    }

    /// Hash of the document that a pod's slots are to use, if they can find it.
    pub(super) fn config(&self, pod: &SwapPod) -> Option<&'a str> {
        self.applications.get(pod.application.as_str())?.config()
    }

    /// Whether a pod is to get the spec's revision, now or later.
    pub(super) fn is_behind(&self, pod: &SwapPod) -> bool {
        let application = self.applications.get(pod.application.as_str());
        !pod.deleting
            && !pod.job_counts_restarts
            && application.is_some_and(|application| application.plans().is_some())
            && !pod.has_both(&self.update.name)
    }

    /// The revision that a pod in the middle of a swap is brought to.
    ///
    /// It is the spec's when that may be used, or has begun to be; otherwise the nearer of the two
    /// that the pod has, so that its swap ends, and a failed one only gives way.
    pub(super) fn end_of(&self, pod: &SwapPod, tried: bool) -> KnownRevision {
        let update = &self.update;
        if update.failed.is_none() && (tried || pod.has(&update.name)) {
            return self.with_digest(update.clone());
        }
        let active = pod.order.active;
        let ends = [active, active.peer()].map(|slot| self.revision_of(pod, slot));
        let good = ends.into_iter().find(|end| end.failed.is_none());
        good.unwrap_or_else(|| self.with_digest(self.current.clone()))
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
            number: 0,
        });
        self.with_digest(revision)
    }

    /// How the preflights of the spec's revision stand, or those that are left of it.
    pub(super) fn trials(&self, seen: &Observed<'_>) -> Trials {
        let trying = Trying {
            revision: &self.update,
            places: self.places(),
            applications: &self.applications,
            pods: seen.trials,
            now: seen.now,
        };
        trying.look()
    }

    /// A revision that went without a preflight has the digest with which it runs in pods. Without
    /// one, a slot would return to an image string that it had before.
    fn with_digest(&self, mut revision: KnownRevision) -> KnownRevision {
        if revision.digest.is_none() {
            let slots = self.pods.iter().flat_map(|pod| {
                Slot::BOTH.map(|slot| (pod.order.revision.of(slot), pod.slots.of(slot)))
            });
            revision.digest = slots
                .filter(|(name, _)| **name == revision.name)
                .find_map(|(_, slot)| slot.container.digest.clone());
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
        let current = kept.unwrap_or_else(|| KnownRevision {
            name: recorded.name.clone(),
            image: recorded.image.clone(),
            digest: recorded.digest.clone(),
            failed: None,
            number: 0,
        });
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
        for pod in &self.pods {
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
    fn places(&self) -> BTreeSet<Place> {
        if self.update.failed.is_some() {
            return BTreeSet::new();
        }
        let behind = self.pods.iter().filter(|pod| self.is_behind(pod));
        let nodes: BTreeSet<Place> = behind
            .filter_map(|pod| Some((pod.application.clone(), Some(pod.node.clone()?))))
            .collect();
        if !nodes.is_empty() || self.update.digest.is_some() {
            return nodes;
        }
        // Nobody waits for it yet: any node will tell whether it can be used.
        let mut valid = self.applications.values();
        let first = valid.find(|application| application.plans().is_some());
        first
            .map(|application| (application.name.clone(), None))
            .into_iter()
            .collect()
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
        number: highest + 1,
    })
}
