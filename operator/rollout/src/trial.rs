//! Preflights: the image is tried on every node concerned before any pod gets it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerState, Pod};
use kube::ResourceExt;
use outrigger_injection::{PREFLIGHT_DEADLINE_SECONDS, Trial, preflight_name};

use crate::revision::KnownRevision;
use crate::slot::{Container, digest, sentence};
use crate::{Action, Consumer, Consumers};

/// How many preflight pods run at once.
pub const TRIALS_AT_ONCE: usize = 8;
/// After this time a failed preflight is tried again: registries and databases come back.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What a preflight pod has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrialResult {
    /// It is under way; the text says what it waits for, if that is known.
    Running(Option<String>),
    /// The image can be used; its digest, if the registry gave one.
    Passed(Option<String>),
    /// It cannot: why, and since when that is known.
    Failed {
        /// Kubelet's reason or the program's last line.
        why: String,
        /// When it ended, or began.
        at: Timestamp,
    },
}

/// Judges a preflight pod.
pub fn trial_result(pod: &Pod, now: Timestamp) -> TrialResult {
    let status = pod.status.clone().unwrap_or_default();
    let container = status.container_statuses.iter().flatten().next();
    let ended = container
        .and_then(|container| container.state.as_ref())
        .and_then(|state: &ContainerState| state.terminated.as_ref());
    let created = pod.creation_timestamp().map_or(now, |created| created.0);
    if let Some(ended) = ended {
        if ended.exit_code == 0 {
            let image_id = container.map_or("", |container| &container.image_id);
            return TrialResult::Passed(digest(image_id));
        }
        let at = ended.finished_at.as_ref().map_or(created, |time| time.0);
        let why = Container::read(container).trouble.unwrap_or_default();
        return TrialResult::Failed { why, at };
    }
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("the pod failed");
        let why = sentence(reason, status.message.as_deref());
        return TrialResult::Failed { why, at: created };
    }
    if let Some(why) = Container::read(container).trouble {
        return TrialResult::Failed { why, at: created };
    }
    let unscheduled = status
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False");
    let waits = unscheduled.map(|condition| {
        let reason = condition.reason.as_deref().unwrap_or("not scheduled");
        sentence(reason, condition.message.as_deref())
    });
    let age = now.duration_since(created);
    match waits {
        Some(why) if age.as_secs() >= PREFLIGHT_DEADLINE_SECONDS => {
            TrialResult::Failed { why, at: created }
        }
        waits => TrialResult::Running(waits),
    }
}

/// Where an image is to be tried: with whose configuration, and on which node or any.
pub(crate) type Place = (Consumer, Option<String>);

/// How the preflights of a revision stand.
#[derive(Debug, Default)]
pub(crate) struct Trials {
    /// What is to be done for them.
    pub(crate) actions: Vec<Action>,
    /// The digest that is now known.
    pub(crate) digest: Option<String>,
    /// Why the image cannot be used, with pod, node and image.
    pub(crate) failed: Option<String>,
    /// What they wait for.
    pub(crate) waiting: Option<String>,
    /// How many have succeeded.
    pub(crate) passed: usize,
    /// How many there are.
    pub(crate) needed: usize,
}

impl Trials {
    pub(crate) fn passed(&self) -> bool {
        self.passed == self.needed
    }
}

/// What the preflights of a revision need.
pub(crate) struct Trying<'a> {
    pub(crate) revision: &'a KnownRevision,
    pub(crate) places: BTreeSet<Place>,
    pub(crate) consumers: &'a Consumers<'a>,
    pub(crate) pods: &'a [Arc<Pod>],
    pub(crate) now: Timestamp,
}

impl Trying<'_> {
    pub(crate) fn look(&self) -> Trials {
        let mut trials = Trials {
            needed: self.places.len(),
            ..Trials::default()
        };
        let pods: BTreeMap<String, &Arc<Pod>> =
            self.pods.iter().map(|pod| (pod.name_any(), pod)).collect();
        let mut known = BTreeSet::new();
        let mut missing = BTreeMap::new();
        let mut running = 0;
        let image = self.revision.slot_image(0);
        for place in &self.places {
            let names = self.names(place);
            let found: Vec<_> = names.iter().filter_map(|name| pods.get(name)).collect();
            known.extend(names);
            let (mut passed, mut under_way) = (false, false);
            for pod in &found {
                under_way |= pod.metadata.deletion_timestamp.is_some();
                match trial_result(pod, self.now) {
                    TrialResult::Passed(digest) => {
                        passed |= self.accept(&mut trials, pod, place, digest);
                    }
                    TrialResult::Running(waits) => {
                        under_way = true;
                        let waits = waits.map(|waits| format!("pod {}: {waits}", pod.name_any()));
                        trials.waiting = trials.waiting.take().or(waits);
                    }
                    TrialResult::Failed { why, at } => {
                        under_way = true;
                        self.refuse(&mut trials, pod, place, &why, at);
                    }
                }
            }
            match (passed, under_way) {
                (true, _) => trials.passed += 1,
                (false, true) => running += 1,
                // Those of an image that reads no configuration are the same for all consumers.
                (false, false) => drop(missing.insert(self.name(place, &image), place)),
            }
        }
        let superseded = pods.iter().filter(|(name, _)| !known.contains(*name));
        let superseded: Vec<_> = superseded.map(|(_, pod)| *pod).collect();
        // What is no longer wanted occupies its node until it is gone.
        running += superseded.iter().filter(|pod| !has_ended(pod)).count();
        // With a digest that was learnt just now the others get another image.
        if trials.failed.is_none() && trials.digest.is_none() {
            let room = TRIALS_AT_ONCE.saturating_sub(running);
            for place in missing.into_values().take(room) {
                self.begin(&mut trials, place);
            }
        }
        let ends = superseded
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| Action::EndTrial(pod.name_any()));
        trials.actions.extend(ends);
        trials
    }

    /// The image strings that may be tried: the one that slots get and, before the digest is known,
    /// the one of the spec. The node that is the first to try it tells the digest.
    fn images(&self) -> [String; 2] {
        [self.revision.slot_image(0), self.revision.image.clone()]
    }

    fn names(&self, place: &Place) -> Vec<String> {
        let images = self.images();
        images
            .iter()
            .filter_map(|image| self.name(place, image))
            .collect()
    }

    /// The name of a preflight pod; `None` if its consumer is not valid.
    fn name(&self, (consumer, node): &Place, image: &str) -> Option<String> {
        let trial = Trial {
            image,
            revision: &self.revision.name,
            node: node.as_deref(),
            like: None,
        };
        Some(preflight_name(&self.consumers.resident(consumer)?, &trial))
    }

    /// Takes a success for what it is: of this digest, or of the one that is not known yet.
    fn accept(
        &self,
        trials: &mut Trials,
        pod: &Pod,
        place: &Place,
        digest: Option<String>,
    ) -> bool {
        let named = self
            .revision
            .image
            .rsplit_once('@')
            .map(|(_, digest)| digest);
        let Some(digest) = named.map(str::to_owned).or(digest) else {
            let why = format!(
                "its digest in a registry is not known; set spec.image to {}@sha256:…",
                self.revision.image
            );
            trials.failed = Some(told(pod, place, &why));
            return false;
        };
        let known = self.revision.digest.as_ref().or(trials.digest.as_ref());
        match known {
            None => {
                trials.actions.push(Action::RecordDigest {
                    revision: self.revision.name.clone(),
                    digest: digest.clone(),
                });
                trials.digest = Some(digest);
                true
            }
            // A tag that moved: this node has another image under it.
            Some(known) => *known == digest || image(pod).ends_with(known.as_str()),
        }
    }

    fn refuse(&self, trials: &mut Trials, pod: &Pod, place: &Place, why: &str, at: Timestamp) {
        let told = told(pod, place, why);
        trials.failed = trials.failed.take().or(Some(told));
        let over = self.now.duration_since(at) >= RETRY;
        if over && pod.metadata.deletion_timestamp.is_none() {
            trials.actions.push(Action::EndTrial(pod.name_any()));
        }
    }

    fn begin(&self, trials: &mut Trials, (consumer, node): &Place) {
        if self.consumers.config(consumer).is_none() {
            let why = format!("the configuration of {consumer} is being written");
            trials.waiting = trials.waiting.take().or(Some(why));
            return;
        }
        trials.actions.push(Action::Try {
            consumer: consumer.clone(),
            node: node.clone(),
            image: self.revision.slot_image(0),
            revision: self.revision.name.clone(),
        });
    }
}

fn told(pod: &Pod, (_, node): &Place, why: &str) -> String {
    let spec = pod.spec.as_ref();
    let node = spec
        .and_then(|spec| spec.node_name.as_deref())
        .or(node.as_deref())
        .unwrap_or("no node");
    let (image, name) = (image(pod), pod.name_any());
    format!("image {image} in pod {name} on {node}: {why}")
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

fn image(pod: &Pod) -> &str {
    let spec = pod.spec.as_ref();
    spec.and_then(|spec| spec.containers.first()?.image.as_deref())
        .unwrap_or_default()
}
