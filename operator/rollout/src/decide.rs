//! The rollout of one sidecar: from everything that is seen of it to what is done next.

mod survey;
mod tell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use outrigger_api::{IntegrationSidecar, IntegrationSidecarStatus};
use outrigger_plan::{ApplicationPlan, SidecarPlan};

use crate::SwapPod;
use crate::answer::Answers;
use crate::budget;
use crate::condition::Summary;
use crate::pod::PodChange;
use crate::revision::{Failure, KnownRevision, outlived};
use crate::swap::{Goal, Step, Waiting, step};
use survey::Survey;

/// When to look again at what no event tells: budgets, and pods that become Ready by and by.
const RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// Everything that concerns one IntegrationSidecar.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The sidecar.
    pub sidecar: &'a IntegrationSidecar,
    /// The applications that use it.
    pub applications: &'a [Application],
    /// The pods that may carry it.
    pub pods: &'a [Arc<Pod>],
    /// The ControllerRevisions that it owns.
    pub revisions: &'a [ControllerRevision],
    /// The preflight pods that it owns.
    pub trials: &'a [Arc<Pod>],
    /// The PodDisruptionBudgets of the namespace.
    pub budgets: &'a [PodDisruptionBudget],
    /// What slots answered just now, by UID of the pod.
    pub answers: &'a BTreeMap<String, Answers>,
    /// The time.
    pub now: Timestamp,
}

/// An application that uses the sidecar.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Name of the sidecar.
    pub sidecar: String,
    /// Its plan, or why it is not valid.
    pub plan: Result<ApplicationPlan, String>,
    /// Hashes of the documents that its slots can find.
    pub documents: BTreeSet<String>,
}

impl Application {
    /// The plan, and the part of it that is about the sidecar; `None` if there is no such.
    pub fn plans(&self) -> Option<(&ApplicationPlan, &SidecarPlan)> {
        let plan = self.plan.as_ref().ok()?;
        let mut sidecars = plan.sidecars.iter();
        let sidecar = sidecars.find(|sidecar| sidecar.name() == self.sidecar)?;
        Some((plan, sidecar))
    }

    /// Hash of the document that slots are to use, if they can find it.
    pub fn config(&self) -> Option<&str> {
        let hash = &self.plans()?.1.document_hash;
        self.documents.contains(hash).then_some(hash.as_str())
    }
}

/// What is to be done now, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Create a ControllerRevision.
    KeepRevision(KnownRevision),
    /// Give a ControllerRevision a higher number.
    Renumber {
        /// Its name.
        revision: String,
        /// The number.
        number: i64,
    },
    /// Record the digest on a ControllerRevision.
    RecordDigest {
        /// Its name.
        revision: String,
        /// The digest.
        digest: String,
    },
    /// Mark a ControllerRevision as failed.
    FailRevision {
        /// Its name.
        revision: String,
        /// Why.
        failure: Failure,
    },
    /// Delete a ControllerRevision.
    RemoveRevision(String),
    /// Create a preflight pod.
    Try {
        /// The application with whose configuration.
        application: String,
        /// The node, or any.
        node: Option<String>,
        /// The image.
        image: String,
        /// Name of the revision.
        revision: String,
    },
    /// Delete a preflight pod.
    EndTrial(String),
    /// Patch a pod.
    Patch(Box<PodChange>),
}

/// What follows from what was seen.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is to be done.
    pub actions: Vec<Action>,
    /// UIDs of the pods whose slots' answers may lead further.
    pub ask: BTreeSet<String>,
    /// When to look again, if nothing is heard of before.
    pub again: Option<SignedDuration>,
    /// The status, but for its conditions.
    pub status: IntegrationSidecarStatus,
    /// What the conditions say.
    pub summary: Summary,
}

/// Decides what to do now about a sidecar.
pub fn decide(seen: &Observed<'_>) -> Decision {
    let mut rollout = Rollout::new(seen);
    rollout.keep_revisions();
    rollout.try_image();
    rollout.continue_swaps();
    rollout.begin_swap();
    rollout.configure();
    rollout.forget_revisions();
    rollout.decision()
}

/// A decision in the making.
struct Rollout<'a> {
    seen: &'a Observed<'a>,
    survey: Survey<'a>,
    actions: Vec<Action>,
    ask: BTreeSet<String>,
    again: Option<SignedDuration>,
    /// What pods in a swap wait for.
    swapping: Vec<Waiting>,
    /// Why no swap begins.
    waiting: Vec<String>,
    /// Why the image cannot be used.
    refused: Option<String>,
    /// What the preflights wait for, while they are under way.
    trying: Option<String>,
    /// Why the spec's revision has failed: already marked, or just now.
    failed: Option<Failure>,
    /// Pods that are to follow.
    behind: usize,
}

impl<'a> Rollout<'a> {
    fn new(seen: &'a Observed<'a>) -> Rollout<'a> {
        let survey = Survey::new(seen);
        Rollout {
            failed: survey.update.failed.clone(),
            survey,
            seen,
            actions: Vec::new(),
            ask: BTreeSet::new(),
            again: None,
            swapping: Vec::new(),
            waiting: Vec::new(),
            refused: None,
            trying: None,
            behind: 0,
        }
    }

    fn keep_revisions(&mut self) {
        let Survey {
            known,
            update,
            current,
            ..
        } = &self.survey;
        let highest = known.values().map(|known| known.number).max().unwrap_or(0);
        for revision in [current, update] {
            if !known.contains_key(&revision.name)
                && !self.actions.iter().any(|action| {
                    matches!(action, Action::KeepRevision(kept) if kept.name == revision.name)
                })
            {
                self.actions.push(Action::KeepRevision(revision.clone()));
            }
        }
        if known.contains_key(&update.name) && update.number < highest {
            self.actions.push(Action::Renumber {
                revision: update.name.clone(),
                number: highest + 1,
            });
        }
    }

    fn try_image(&mut self) {
        let trials = self.survey.trials(self.seen);
        self.actions.extend(trials.actions.iter().cloned());
        if let Some(digest) = &trials.digest {
            let Survey {
                update, current, ..
            } = &mut self.survey;
            update.digest = Some(digest.clone());
            if current.name == update.name {
                current.digest = Some(digest.clone());
            }
        }
        if trials.passed() {
            return;
        }
        self.look_again(RECHECK);
        if trials.failed.is_none() {
            let waits = trials.waiting.map(|waits| format!("; {waits}"));
            self.trying = Some(format!(
                "image {} is being tried: {} of {} preflights succeeded{}",
                self.survey.update.image,
                trials.passed,
                trials.needed,
                waits.unwrap_or_default()
            ));
        }
        self.refused = trials.failed;
    }

    /// Whether the spec's image may be given to pods.
    fn is_tried(&self) -> bool {
        self.refused.is_none() && self.trying.is_none() && self.failed.is_none()
    }

    /// Brings every pod whose swap has begun to a consistent end.
    fn continue_swaps(&mut self) {
        let pods = self.survey.pods.clone();
        for pod in pods.iter().filter(|pod| pod.is_swapping() && !pod.deleting) {
            let target = self.survey.end_of(pod, self.is_tried());
            self.advance(pod, &target);
        }
    }

    fn advance(&mut self, pod: &SwapPod, target: &KnownRevision) {
        let answers = self.seen.answers.get(&pod.uid);
        let goal = self.goal(pod, target);
        let (name, next) = (target.name.clone(), step(pod, answers, &goal));
        match next {
            Step::Rest => {}
            Step::Change(change) => self.patch(pod, change),
            Step::Wait(waiting) => {
                if waiting.ask {
                    self.ask.insert(pod.uid.clone());
                }
                self.look_again(waiting.again);
                self.swapping.push(waiting);
            }
            Step::Failed(failure) => {
                self.actions.push(Action::FailRevision {
                    revision: name.clone(),
                    failure: failure.clone(),
                });
                if name == self.survey.update.name {
                    self.failed = Some(failure);
                }
            }
        }
    }

    fn goal<'g>(&'g self, pod: &SwapPod, target: &'g KnownRevision) -> Goal<'g> {
        let update = self.seen.sidecar.spec.effective_update();
        Goal {
            sidecar: &self.survey.name,
            on_trial: target.name != self.survey.current.name && target.failed.is_none(),
            target,
            config: self.survey.config(pod),
            soak: SignedDuration::from_secs(update.soak_seconds),
            now: self.seen.now,
        }
    }

    fn patch(&mut self, pod: &SwapPod, change: crate::Change) {
        // An order always has a JSON form.
        if let Ok(change) = PodChange::new(pod, &self.survey.name, change) {
            self.actions.push(Action::Patch(Box::new(change)));
        }
    }

    /// Begins the next swap: one pod at a time.
    fn begin_swap(&mut self) {
        let pods = self.survey.pods.clone();
        let behind: Vec<_> = pods
            .iter()
            .filter(|pod| self.survey.is_behind(pod))
            .collect();
        self.behind = behind.len();
        let busy = pods.iter().any(|pod| pod.is_swapping() && !pod.deleting);
        let paused = self.seen.sidecar.spec.effective_update().paused;
        if busy || paused || !self.is_tried() {
            return;
        }
        let resting = behind.into_iter().filter(|pod| !pod.is_swapping());
        for pod in resting {
            match self.obstacle(pod) {
                Some(obstacle) => self.waiting.push(obstacle),
                None => {
                    self.waiting.clear();
                    let target = self.survey.update.clone();
                    self.advance(pod, &target);
                    return;
                }
            }
        }
        if !self.waiting.is_empty() {
            self.look_again(RECHECK);
        }
    }

    /// Why a pod's swap cannot begin now.
    fn obstacle(&self, pod: &SwapPod) -> Option<String> {
        if self.survey.config(pod).is_none() {
            return Some(format!(
                "pod {}: the configuration of application {} is being written",
                pod.name, pod.application
            ));
        }
        if let Some(other) = &pod.other_swap {
            return Some(format!(
                "pod {}: sidecar {other} is being swapped",
                pod.name
            ));
        }
        if !pod.ready {
            // What a slot that cannot run has broken, a new image may mend.
            let mends = pod.broken().is_some();
            return (!mends).then(|| format!("pod {} is not Ready", pod.name));
        }
        budget::forbidding(pod, self.seen.budgets).map(|found| budget::waiting(pod, found))
    }

    /// Gives pods at rest the newest configuration.
    fn configure(&mut self) {
        let pods = self.survey.pods.clone();
        for pod in pods
            .iter()
            .filter(|pod| !pod.is_swapping() && !pod.deleting)
        {
            let patched = self
                .actions
                .iter()
                .any(|action| matches!(action, Action::Patch(change) if change.uid == pod.uid));
            if patched || !pod.is_observed() || pod.other_swap.is_some() {
                continue;
            }
            let target = self.survey.revision_of(pod, pod.order.active);
            if let Step::Change(change) = step(pod, None, &self.goal(pod, &target)) {
                self.patch(pod, change);
            }
        }
    }

    fn forget_revisions(&mut self) {
        let survey = &self.survey;
        let is_used = |name: &str| {
            name == survey.update.name
                || name == survey.current.name
                || survey.pods.iter().any(|pod| pod.has(name))
        };
        let limit = self.seen.sidecar.spec.effective_revision_history_limit();
        let outlived = outlived(&survey.known, is_used, limit);
        let removals = outlived
            .into_iter()
            .map(|name| Action::RemoveRevision(name.to_owned()));
        self.actions.extend(removals.collect::<Vec<_>>());
    }

    fn look_again(&mut self, after: SignedDuration) {
        self.again = Some(self.again.map_or(after, |again| again.min(after)));
    }

    /// Whether every pod that can have the spec's revision has it.
    fn is_complete(&self) -> bool {
        let swapping = self.survey.pods.iter();
        self.is_tried()
            && self.behind == 0
            && !swapping
                .filter(|pod| !pod.deleting)
                .any(SwapPod::is_swapping)
    }
}
