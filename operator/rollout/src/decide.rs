//! The rollout of one sidecar: from everything that is seen of it to what is done next.

mod begin;
mod drift;
mod evictions;
mod survey;
mod tell;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use outrigger_api::{IntegrationSidecar, IntegrationSidecarStatus, UpdateStrategy};
use outrigger_plan::SharedPlan;

use crate::answer::Answers;
use crate::condition::Summary;
use crate::pod::PodChange;
use crate::revision::{Failure, KnownRevision, outlived};
use crate::swap::{Goal, Step, Waiting, step};
use crate::{Action, Application, Consumer, SwapPod};
use evictions::Evictions;
use survey::Survey;

/// When to look again at what no event tells: budgets, and pods that become Ready by and by.
const RECHECK: SignedDuration = SignedDuration::from_secs(5);

/// What was just written is heard of, as a rule, before this has passed.
const HEARD: SignedDuration = SignedDuration::from_secs(1);

/// Everything that concerns one IntegrationSidecar.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The sidecar.
    pub sidecar: &'a IntegrationSidecar,
    /// The applications that use it.
    pub applications: &'a [Application],
    /// The plan of its function pods, if it is shared and they can find the plan's document.
    pub shared: Option<&'a SharedPlan>,
    /// The pods that may carry it.
    pub pods: &'a [Arc<Pod>],
    /// Those of their nodes that are not Ready.
    pub lost_nodes: &'a BTreeSet<String>,
    /// With `Recreate`: how many pods of a consumer are still to be created by their controllers.
    pub missing: &'a BTreeMap<Consumer, usize>,
    /// Names of the pods whose evictions were refused, each by its last refusal.
    pub refused: &'a [String],
    /// The ControllerRevisions that it owns.
    pub revisions: &'a [ControllerRevision],
    /// The preflight pods that it owns.
    pub trials: &'a [Arc<Pod>],
    /// The PodDisruptionBudgets of the namespace; `None` until a decision asks for them.
    pub budgets: Option<&'a [PodDisruptionBudget]>,
    /// What slots answered just now, by UID of the pod.
    pub answers: &'a BTreeMap<String, Answers>,
    /// The time.
    pub now: Timestamp,
}

/// What follows from what was seen.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What is to be done.
    pub actions: Vec<Action>,
    /// UIDs of the pods whose slots' answers may lead further.
    pub ask: BTreeSet<String>,
    /// Whether the budgets may lead further, which were not looked at.
    pub ask_budgets: bool,
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
    rollout.judge();
    rollout.continue_swaps();
    rollout.fail();
    rollout.begin();
    rollout.await_successors();
    rollout.configure();
    rollout.forget_revisions();
    rollout.decision()
}

/// A decision in the making.
struct Rollout<'a> {
    seen: &'a Observed<'a>,
    survey: Survey<'a>,
    pods: Arc<[SwapPod]>,
    evictions: Evictions,
    actions: Vec<Action>,
    /// UIDs of the pods that are patched.
    patched: BTreeSet<String>,
    ask: BTreeSet<String>,
    ask_budgets: bool,
    again: Option<SignedDuration>,
    /// What pods in a swap wait for.
    swapping: Vec<Waiting>,
    /// Why no swap begins.
    waiting: Vec<String>,
    /// Images that somebody keeps changing.
    drifts: Vec<String>,
    /// Why the image cannot be used.
    refused: Option<String>,
    /// What the preflights wait for, while they are under way.
    trying: Option<String>,
    /// Where revisions failed just now: the consumer, the revision and why.
    failures: Vec<(Consumer, String, Failure)>,
}

impl<'a> Rollout<'a> {
    fn new(seen: &'a Observed<'a>) -> Rollout<'a> {
        let survey = Survey::new(seen);
        let pods = Arc::clone(&survey.pods);
        Rollout {
            evictions: Evictions::new(seen, &survey),
            pods,
            survey,
            seen,
            actions: Vec::new(),
            patched: BTreeSet::new(),
            ask: BTreeSet::new(),
            ask_budgets: false,
            again: None,
            swapping: Vec::new(),
            waiting: Vec::new(),
            drifts: Vec::new(),
            refused: None,
            trying: None,
            failures: Vec::new(),
        }
    }

    fn keep_revisions(&mut self) {
        let Survey {
            known,
            update,
            current,
            ..
        } = &self.survey;
        for revision in [current, update] {
            if !known.contains_key(&revision.name)
                && !self.actions.iter().any(|action| {
                    matches!(action, Action::KeepRevision(kept) if kept.name == revision.name)
                })
            {
                self.actions.push(Action::KeepRevision(revision.clone()));
            }
        }
        // Written by a leader that did not know of the others yet, it may have the number of one.
        let others = known.values().filter(|known| known.name != update.name);
        let highest = others.map(|known| known.number).max().unwrap_or(0);
        if known.contains_key(&update.name) && update.number <= highest {
            self.actions.push(Action::Renumber {
                revision: update.name.clone(),
                number: highest + 1,
            });
        }
        // The status tells what a mark that could not be written in time would have told.
        let unmarked = known
            .get(&current.name)
            .filter(|known| known.digest.is_none() && current.name != update.name);
        if let (Some(revision), Some(digest)) = (unmarked, &current.digest) {
            self.actions.push(Action::RecordDigest {
                revision: revision.name.clone(),
                digest: digest.clone(),
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
        self.refused.is_none() && self.trying.is_none() && self.survey.update.failed.is_none()
    }

    /// Brings every pod whose swap has begun to a consistent end.
    fn continue_swaps(&mut self) {
        let pods = Arc::clone(&self.pods);
        for pod in pods.iter() {
            if !self.survey.is_in_swap(pod) {
                continue;
            }
            let target = self.survey.end_of(pod, self.is_tried());
            self.advance(pod, &target);
        }
    }

    fn advance(&mut self, pod: &SwapPod, target: &KnownRevision) {
        let answers = self.seen.answers.get(&pod.uid);
        let step = step(pod, answers, &self.goal(pod, target));
        self.take(pod, target, step);
    }

    /// Takes a step of a pod to its target.
    fn take(&mut self, pod: &SwapPod, target: &KnownRevision, step: Step) {
        match step {
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
                let consumer = pod.consumer.clone();
                self.failures.push((consumer, target.name.clone(), failure));
            }
        }
    }

    fn goal<'g>(&'g self, pod: &SwapPod, target: &'g KnownRevision) -> Goal<'g> {
        let update = self.seen.sidecar.spec.effective_update();
        Goal {
            sidecar: &self.survey.name,
            on_trial: target.name != self.survey.current.name && !target.is_failed_for(pod),
            in_place: update.strategy == UpdateStrategy::InPlace,
            target,
            config: self.survey.config(pod),
            soak: SignedDuration::from_secs(update.soak_seconds),
            now: self.seen.now,
        }
    }

    fn patch(&mut self, pod: &SwapPod, change: crate::Change) {
        // An order always has a JSON form.
        if let Ok(change) = PodChange::new(pod, &self.survey.name, change) {
            self.patched.insert(pod.uid.clone());
            self.actions.push(Action::Patch(Box::new(change)));
        }
    }

    /// Gives pods at rest the newest configuration.
    fn configure(&mut self) {
        let pods = Arc::clone(&self.pods);
        for pod in pods
            .iter()
            .filter(|pod| !pod.is_swapping() && !pod.deleting)
        {
            let patched = self.patched.contains(&pod.uid);
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
        let used: BTreeSet<&str> = self
            .pods
            .iter()
            .flat_map(|pod| [pod.order.revision.a.as_str(), pod.order.revision.b.as_str()])
            .chain([survey.update.name.as_str(), survey.current.name.as_str()])
            .collect();
        let limit = self.seen.sidecar.spec.effective_revision_history_limit();
        let outlived = outlived(&survey.known, |name| used.contains(name), limit);
        let removals = outlived
            .into_iter()
            .map(|name| Action::RemoveRevision(name.to_owned()));
        self.actions.extend(removals);
    }

    fn look_again(&mut self, after: SignedDuration) {
        self.again = Some(self.again.map_or(after, |again| again.min(after)));
    }

    /// Whether every pod that can have the spec's revision has it, and is there.
    fn is_complete(&self) -> bool {
        let mut pods = self.pods.iter();
        self.is_tried()
            && self.seen.missing.values().all(|count| *count == 0)
            && self.survey.update.failed_in.is_empty()
            && pods.all(|pod| {
                let survey = &self.survey;
                let is_open = pod.is_swapping() || survey.is_behind(pod) || survey.is_held(pod);
                pod.deleting || !is_open
            })
    }
}
