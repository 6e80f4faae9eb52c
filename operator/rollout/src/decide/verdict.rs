//! Whether a revision has failed, judged over all its pods.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use outrigger_api::conditions::reason;
use outrigger_control::{Phase, Slot, Soaked};

use super::Rollout;
use crate::answer::soaked;
use crate::revision::Failure;
use crate::{Action, Consumer, SwapPod};

/// A verdict needs so many pods, or one of [`SHARE`] of the consumer's.
const PODS: usize = 2;
/// One pod of so many is enough.
const SHARE: usize = 5;
/// Fewest requests that a share of errors is judged by.
const REQUESTS: u64 = 100;
/// For so long after its swap a pod is watched for a late crash, while the rollout goes on.
const LATE: SignedDuration = SignedDuration::from_secs(600);
/// Most pods of a consumer that are asked when one of them tells of a late crash.
const WITNESSES: usize = 32;

impl Rollout<'_> {
    /// Looks for a revision that answers with errors, or crashes after its soak.
    pub(super) fn judge(&mut self) {
        let update = &self.survey.update;
        let proven = update.failed.as_ref().is_some_and(|failure| failure.proven);
        if update.name == self.survey.current.name || proven {
            return;
        }
        self.judge_errors();
        self.judge_late_crashes();
    }

    fn judge_errors(&mut self) {
        if self.survey.update.failed.is_some() {
            return;
        }
        let mut figures: BTreeMap<&Consumer, (usize, Soaked)> = BTreeMap::new();
        let pods = std::sync::Arc::clone(&self.pods);
        for pod in pods.iter() {
            let Some(found) = self.soaked(pod) else {
                continue;
            };
            let (pods, sum) = figures.entry(&pod.consumer).or_default();
            *pods += 1;
            sum.new.all += found.new.all;
            sum.new.errors += found.new.errors;
            sum.old.all += found.old.all;
            sum.old.errors += found.old.errors;
        }
        for (consumer, (pods, sum)) in figures {
            if self.is_enough(consumer, pods) {
                self.judge_figures(consumer, pods, sum);
            }
        }
    }

    fn judge_figures(&mut self, consumer: &Consumer, pods: usize, sum: Soaked) {
        let limit = self
            .seen
            .sidecar
            .spec
            .effective_update()
            .error_ratio_percent;
        let (new, old) = (percent(sum.new), percent(sum.old));
        if sum.new.all < REQUESTS || new <= old + f64::from(limit) {
            return;
        }
        let message = format!(
            "{new:.1} % of {} requests to {pods} pods of {consumer} were answered with a 5xx status, and {old:.1} % of those to the former image; spec.update.rollback.errorRatioPercent allows {limit} more",
            sum.new.all
        );
        let update = &mut self.survey.update;
        match consumer {
            Consumer::Application(name) if update.failed_in.contains_key(name) => {}
            Consumer::Application(name) => {
                update.failed_in.insert(name.clone(), message.clone());
                self.fail_revision(Some(name.clone()), message);
            }
            Consumer::Shared => self.fail_revision(None, message),
        }
    }

    fn fail_revision(&mut self, application: Option<String>, message: String) {
        let failure = Failure {
            reason: reason::REVISION_FAILED,
            message,
            proven: true,
        };
        if application.is_none() {
            self.survey.update.failed = Some(failure.clone());
        }
        self.actions.push(Action::FailRevision {
            revision: self.survey.update.name.clone(),
            application,
            failure,
        });
    }

    /// What the slots of a pod have answered in the soak of the spec's revision.
    fn soaked(&self, pod: &SwapPod) -> Option<Soaked> {
        let update = &self.survey.update.name;
        let order = &pod.order;
        let noted = order.notes.soaked.filter(|_| pod.has(update));
        if noted.is_some() || order.phase != Phase::Soak {
            return noted;
        }
        let new = order.active;
        let is_ours = order.revision.of(new) == update && order.revision.of(new.peer()) != update;
        let answers = self.seen.answers.get(&pod.uid).filter(|_| is_ours)?;
        soaked(answers, new)
    }

    /// Pods whose soak is over are asked one by one in turn, and when one has crashed, others of its
    /// consumer as well.
    fn judge_late_crashes(&mut self) {
        let update = self.survey.update.name.clone();
        let pods = std::sync::Arc::clone(&self.pods);
        let watched: Vec<_> = pods
            .iter()
            .filter(|pod| !pod.is_swapping() && !pod.deleting && pod.has_both(&update))
            .filter(|pod| !self.survey.is_lost(pod) && self.is_fresh(pod))
            .collect();
        if watched.is_empty() {
            return;
        }
        let crashes = watched
            .iter()
            .filter_map(|pod| Some((*pod, self.late_crash(pod)?)));
        let crashes: Vec<_> = crashes.collect();
        let Some((first, what)) = crashes.first() else {
            let turn = usize::try_from(self.seen.now.as_millisecond() / 200).unwrap_or(0);
            self.ask.insert(watched[turn % watched.len()].uid.clone());
            return;
        };
        for (pod, _) in &crashes {
            let alike = crashes
                .iter()
                .filter(|(other, _)| other.consumer == pod.consumer);
            if self.is_enough(&pod.consumer, alike.count()) {
                let message = format!("pod {}: {what}, after its soak", first.name);
                self.fail_revision(None, message);
                return;
            }
        }
        for (crashed, _) in &crashes {
            self.ask.extend(witnesses(&watched, crashed));
        }
    }

    fn is_fresh(&self, pod: &SwapPod) -> bool {
        let since: Timestamp = pod.order.since.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        self.seen.now.duration_since(since) < LATE
    }

    fn late_crash(&self, pod: &SwapPod) -> Option<String> {
        let answers = self.seen.answers.get(&pod.uid);
        Slot::BOTH.into_iter().find_map(|slot| {
            let name = pod.container(&self.survey.name, slot);
            if let Some(trouble) = pod.slots.of(slot).container.crashed_since(&pod.order.since) {
                return Some(format!("container {name} {trouble}"));
            }
            let restarts = answers?.of(slot).report()?.worker_restarts;
            (restarts > 0).then(|| format!("the worker in container {name} ended {restarts} times"))
        })
    }

    /// Whether what so many pods of a consumer tell is more than a hint.
    fn is_enough(&self, consumer: &Consumer, pods: usize) -> bool {
        let alike = self.pods.iter().filter(|pod| pod.consumer == *consumer);
        let all = alike.filter(|pod| !pod.deleting).count();
        pods >= PODS || pods > 0 && pods * SHARE >= all
    }

    /// Marks the revisions that failed in pods just now.
    pub(super) fn fail(&mut self) {
        let failures = std::mem::take(&mut self.failures);
        let revisions: BTreeSet<&String> = failures.iter().map(|(_, name, _)| name).collect();
        for revision in revisions {
            let here: Vec<_> = failures
                .iter()
                .filter(|(_, name, _)| name == revision)
                .collect();
            let Some((_, _, first)) = here.first() else {
                continue;
            };
            let proven = here.iter().any(|(consumer, _, failure)| {
                let alike = here.iter().filter(|(other, _, _)| other == consumer);
                failure.proven || self.is_enough(consumer, alike.count())
            });
            let failure = Failure {
                proven,
                ..first.clone()
            };
            if *revision == self.survey.update.name {
                self.survey.update.failed = Some(failure.clone());
            }
            self.actions.push(Action::FailRevision {
                revision: revision.clone(),
                application: None,
                failure,
            });
        }
    }
}

/// UIDs of the pods that follow one that crashed, among those of its consumer in a ring.
fn witnesses(watched: &[&SwapPod], crashed: &SwapPod) -> impl Iterator<Item = String> {
    let (before, after): (Vec<&SwapPod>, Vec<_>) = watched
        .iter()
        .filter(|pod| pod.consumer == crashed.consumer && pod.uid != crashed.uid)
        .partition(|pod| pod.name < crashed.name);
    let ring = after.into_iter().chain(before).take(WITNESSES);
    ring.map(|pod| pod.uid.clone())
}

#[allow(clippy::cast_precision_loss, reason = "a share needs no more")]
fn percent(answered: outrigger_control::Answered) -> f64 {
    match answered.all {
        0 => 0.0,
        all => 100.0 * answered.errors as f64 / all as f64,
    }
}
