//! The status that says how things stand.

use outrigger_api::conditions::reason;
use outrigger_api::{
    IntegrationSidecarStatus, PodSwap, RESUME_ANNOTATION, SidecarPods, UpdateStrategy,
};

use super::survey::Survey;
use super::{Decision, HEARD, Rollout};
use crate::SwapPod;
use crate::condition::{State, Summary};
use crate::revision::KnownRevision;

/// How many swaps a status names.
const SWAPS: usize = 16;
/// How many applications a status names.
const APPLICATIONS: usize = 32;

impl Rollout<'_> {
    pub(super) fn decision(mut self) -> Decision {
        let summary = self.summary();
        let status = self.status();
        if !self.actions.is_empty() {
            self.look_again(HEARD);
        }
        Decision {
            actions: self.actions,
            ask: self.ask,
            ask_budgets: self.ask_budgets,
            again: self.again,
            status,
            summary,
        }
    }

    fn count(&self, which: impl Fn(&SwapPod) -> bool) -> i32 {
        let count = self.pods.iter().filter(|pod| which(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    fn is_updated(&self, pod: &SwapPod) -> bool {
        pod.has_both(&self.survey.update.name)
    }

    fn keep_their_image(&self) -> i32 {
        self.count(|pod| pod.job_counts_restarts && !self.is_updated(pod))
    }

    fn in_swap(&self) -> impl Iterator<Item = &SwapPod> {
        let pods = self.pods.iter();
        pods.filter(|pod| pod.is_swapping() && !pod.deleting)
    }

    /// The pods that are disturbed, sorted by name.
    fn swaps(&self) -> Vec<PodSwap> {
        let swaps = self.in_swap().map(|pod| PodSwap {
            pod: pod.name.clone(),
            phase: pod.order.phase.to_string(),
            since: pod.order.since.clone(),
        });
        let mut swaps: Vec<_> = swaps
            .chain(self.evictions.entries().iter().cloned())
            .collect();
        swaps.sort_by(|one, other| one.pod.cmp(&other.pod));
        swaps.truncate(SWAPS);
        swaps
    }

    /// The revision that new pods get before all have it: a strategy that leaves running pods alone
    /// needs one, and keeps it through preflights on nodes that join later.
    fn new_pod_revision(&self) -> Option<&KnownRevision> {
        let Survey {
            update,
            current,
            strategy,
            ..
        } = &self.survey;
        let gives = matches!(strategy, UpdateStrategy::Staged | UpdateStrategy::Recreate);
        let is_open = update.name != current.name
            && update.failed.is_none()
            && update.failed_in.is_empty()
            && !self.is_complete();
        let status = self.seen.sidecar.status.as_ref();
        let given = status.and_then(|status| status.new_pod_revision.as_ref());
        let given = given.is_some_and(|given| given.name == update.name);
        // While no application is valid there is nothing to try it with, and no digest.
        let tried = self.is_tried() && update.digest.is_some();
        (gives && is_open && (given || tried)).then_some(update)
    }

    fn status(&self) -> IntegrationSidecarStatus {
        let survey = &self.survey;
        let current = match self.is_complete() {
            true => &survey.update,
            false => &survey.current,
        };
        IntegrationSidecarStatus {
            observed_generation: self.seen.sidecar.metadata.generation,
            conditions: Vec::new(),
            current_revision: Some(current.shown()),
            update_revision: (survey.update.name != current.name).then(|| survey.update.shown()),
            pods: Some(SidecarPods {
                total: self.count(|_| true),
                updated: self.count(|pod| self.is_updated(pod)),
                job_counts_restarts: self.keep_their_image(),
            }),
            swaps: self.swaps(),
            new_pod_revision: self.new_pod_revision().map(KnownRevision::shown),
            function_pods: None,
            applications: survey
                .consumers
                .applications()
                .take(APPLICATIONS)
                .map(|application| application.name.clone())
                .collect(),
        }
    }

    /// The most important thing that can be said.
    fn summary(&self) -> Summary {
        if let Some(failed) = self.failed_summary() {
            return failed;
        }
        if let Some(refused) = &self.refused {
            let untouched = match self
                .pods
                .iter()
                .any(|pod| pod.has(&self.survey.update.name))
            {
                true => "no further pod is touched",
                false => "no application pod was touched",
            };
            let message = format!("{refused}; {untouched}, and the image will be tried again");
            return Summary::new(State::Stalled, reason::PREFLIGHT_FAILED, message);
        }
        self.swapping_summary()
            .or_else(|| self.waiting_summary())
            .unwrap_or_else(|| self.ready_summary())
    }

    fn failed_summary(&self) -> Option<Summary> {
        let Survey {
            update, current, ..
        } = &self.survey;
        let failed = update.failed.as_ref();
        let (reason, told) = match (failed, update.failed_in.first_key_value()) {
            (Some(failure), _) => (failure.reason, failure.message.as_str()),
            (None, Some((_, message))) => (reason::REVISION_FAILED, message.as_str()),
            (None, None) => return None,
        };
        let waits = self.waiting.first();
        let waits = waits.map_or(String::new(), |waits| format!(" ({waits})"));
        let message = format!(
            "{told}; the rollout has stopped and new pods get {}{}{waits}: set spec.image to another image, or delete ControllerRevision {} to try {} again",
            current.image,
            self.left_with_it(),
            update.name,
            update.image,
        );
        Some(Summary::new(State::Stalled, reason, message))
    }

    /// What becomes of pods that have the failed revision.
    fn left_with_it(&self) -> String {
        let update = &self.survey.update;
        let left = self.count(|pod| pod.has_both(&update.name) && update.is_failed_for(pod));
        if left == 0 {
            return String::new();
        }
        let spec = self.seen.sidecar.spec.effective_update();
        let mut pods = self.pods.iter();
        let taken = pods.any(|pod| pod.has_both(&update.name) && update.is_taken_from(pod));
        match (self.survey.can_go_back(), spec.rolls_back, taken) {
            (true, true, true) if spec.paused => {
                format!("; {left} pods have it until spec.update.paused is false")
            }
            (true, true, true) => format!("; {left} pods go back"),
            _ => format!("; {left} pods have it and keep it"),
        }
    }

    fn swapping_summary(&self) -> Option<Summary> {
        let progress = self.progress();
        let told = |reason: &str| reason != reason::SWAPPING;
        let waiting = self.swapping.iter().find(|waiting| told(waiting.reason));
        if let Some(waiting) = waiting.or(self.swapping.first()) {
            let state = match waiting.reason {
                reason::SLOT_UNREACHABLE | reason::HANDOVER_FAILED => State::Stalled,
                _ => State::Reconciling,
            };
            let message = match told(waiting.reason) {
                true => format!("{}; {progress}", waiting.message),
                // The phase is in the status, and a message for each moment helps nobody.
                false => progress,
            };
            return Some(Summary::new(state, waiting.reason, message));
        }
        let evicted = !self.evictions.entries().is_empty();
        let (busy, reason) = match evicted {
            true => (true, reason::RECREATING),
            false => (self.in_swap().next().is_some(), reason::SWAPPING),
        };
        busy.then(|| Summary::new(State::Reconciling, reason, progress))
    }

    fn waiting_summary(&self) -> Option<Summary> {
        if let Some(trying) = &self.trying {
            return Some(Summary::new(State::Reconciling, reason::PREFLIGHT, trying));
        }
        if self.survey.follows.is_empty() && self.waiting.is_empty() {
            return None;
        }
        let progress = self.progress();
        if self.seen.sidecar.spec.effective_update().paused {
            let message = format!("spec.update.paused is true; {progress}");
            return Some(Summary::new(State::Reconciling, reason::PAUSED, message));
        }
        let Some(first) = self.waiting.first() else {
            return Some(Summary::new(State::Reconciling, reason::SWAPPING, progress));
        };
        let others = match self.waiting.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more wait"),
        };
        let message = format!("{first}{others}; {progress}");
        Some(Summary::new(State::Reconciling, reason::WAITING, message))
    }

    fn ready_summary(&self) -> Summary {
        if let Some(wrong) = self.survey.wrong.first() {
            return Summary::new(State::Stalled, reason::WAITING, wrong);
        }
        if let Some(drift) = self.drifts.first() {
            return Summary::new(State::Stalled, reason::IMAGE_DRIFT, drift);
        }
        if let Some(message) = self.not_valid() {
            return Summary::new(State::Reconciling, reason::WAITING, message);
        }
        if let Some(kept) = self.kept_summary() {
            return kept;
        }
        let left = self.keep_their_image();
        if left > 0 {
            let message = format!(
                "{left} pods keep their image: their Jobs have restartPolicy OnFailure, and would count a slot's restart as a failure"
            );
            return Summary::new(State::Ready, reason::JOB_COUNTS_RESTARTS, message);
        }
        let message = match (
            self.survey.consumers.applications().next().is_none(),
            self.pods.len(),
        ) {
            (true, 0) => "no IntegratedApp uses it".to_owned(),
            _ => self.progress(),
        };
        Summary::new(State::Ready, reason::SUCCEEDED, message)
    }

    /// Pods that keep their revision because the spec says so.
    fn kept_summary(&self) -> Option<Summary> {
        let kept = self.count(|pod| self.survey.is_behind(pod));
        if kept == 0 {
            return None;
        }
        let progress = self.progress();
        let name = &self.survey.update.name;
        Some(match self.survey.strategy {
            UpdateStrategy::Staged => {
                let message = format!(
                    "new pods get {}, and {kept} pods keep theirs until the rollout is resumed (annotation {RESUME_ANNOTATION}: {name}); {progress}",
                    self.survey.update.image
                );
                Summary::new(State::Ready, reason::STAGED, message)
            }
            _ => {
                let message =
                    format!("{kept} pods keep their revision by spec.update.partition; {progress}");
                Summary::new(State::Ready, reason::PARTITION_REACHED, message)
            }
        })
    }

    /// Why pods cannot follow: an application is not valid, or the function pods' plan is not there.
    fn not_valid(&self) -> Option<String> {
        let applications = self.survey.consumers.applications();
        let invalid = applications.filter_map(|application| {
            let error = application.plan.as_ref().err()?;
            Some((&application.name, error))
        });
        let mut holding = invalid.filter(|(name, _)| {
            self.count(|pod| pod.consumer.application() == Some(name) && !self.is_updated(pod)) > 0
        });
        if let Some((name, error)) = holding.next() {
            return Some(format!(
                "pods of IntegratedApp {name} keep their image until it is mended: {error}"
            ));
        }
        // Of applications that was all there is.
        let held = self.pods.iter().find(|pod| self.survey.is_held(pod))?;
        Some(format!(
            "function pods keep their image until the configuration of {} is written",
            held.consumer
        ))
    }

    fn progress(&self) -> String {
        let updated = self.count(|pod| self.is_updated(pod));
        format!(
            "{updated} of {} pods have {}",
            self.pods.len(),
            self.survey.update.image
        )
    }
}
