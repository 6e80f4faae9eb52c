//! The status that says how things stand.

use jiff::SignedDuration;
use outrigger_api::conditions::reason;
use outrigger_api::{IntegrationSidecarStatus, PodSwap, SidecarPods};

use super::{Decision, Rollout};
use crate::SwapPod;
use crate::condition::{State, Summary};

/// How many applications a status names.
const APPLICATIONS: usize = 32;
/// What was just written is heard of, as a rule, before this has passed.
const HEARD: SignedDuration = SignedDuration::from_secs(1);

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
            again: self.again,
            status,
            summary,
        }
    }

    fn count(&self, which: impl Fn(&SwapPod) -> bool) -> i32 {
        let count = self.survey.pods.iter().filter(|pod| which(pod)).count();
        i32::try_from(count).unwrap_or(i32::MAX)
    }

    fn is_updated(&self, pod: &SwapPod) -> bool {
        pod.has_both(&self.survey.update.name)
    }

    fn keep_their_image(&self) -> i32 {
        self.count(|pod| pod.job_counts_restarts && !self.is_updated(pod))
    }

    fn in_swap(&self) -> Option<&SwapPod> {
        let mut pods = self.survey.pods.iter();
        pods.find(|pod| pod.is_swapping() && !pod.deleting)
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
            swaps: self
                .in_swap()
                .map(|pod| PodSwap {
                    pod: pod.name.clone(),
                    phase: pod.order.phase.to_string(),
                    since: pod.order.since.clone(),
                })
                .into_iter()
                .collect(),
            new_pod_revision: None,
            function_pods: None,
            applications: survey
                .applications
                .keys()
                .take(APPLICATIONS)
                .map(|name| (*name).to_owned())
                .collect(),
        }
    }

    /// The most important thing that can be said.
    fn summary(&self) -> Summary {
        if let Some(failure) = &self.failed {
            let message = format!(
                "{}; the rollout has stopped and new pods get {}: set spec.image to another image, or delete ControllerRevision {} to try {} again",
                failure.message,
                self.survey.current.image,
                self.survey.update.name,
                self.survey.update.image,
            );
            return Summary::new(State::Stalled, failure.reason, message);
        }
        if let Some(refused) = &self.refused {
            let untouched = match self
                .survey
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
        self.in_swap()?;
        Some(Summary::new(State::Reconciling, reason::SWAPPING, progress))
    }

    fn waiting_summary(&self) -> Option<Summary> {
        if let Some(trying) = &self.trying {
            return Some(Summary::new(State::Reconciling, reason::PREFLIGHT, trying));
        }
        if self.behind == 0 {
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
        if let Some(message) = self.not_valid() {
            return Summary::new(State::Reconciling, reason::WAITING, message);
        }
        let left = self.keep_their_image();
        if left > 0 {
            let message = format!(
                "{left} pods keep their image: their Jobs have restartPolicy OnFailure, and would count a slot's restart as a failure"
            );
            return Summary::new(State::Ready, reason::JOB_COUNTS_RESTARTS, message);
        }
        let message = match (self.survey.applications.is_empty(), self.survey.pods.len()) {
            (true, 0) => "no IntegratedApp uses it".to_owned(),
            _ => self.progress(),
        };
        Summary::new(State::Ready, reason::SUCCEEDED, message)
    }

    /// The first application that keeps pods from following because it is not valid.
    fn not_valid(&self) -> Option<String> {
        let applications = self.survey.applications.values();
        let invalid = applications.filter_map(|application| {
            let error = application.plan.as_ref().err()?;
            Some((&application.name, error))
        });
        let mut holding = invalid.filter(|(name, _)| {
            self.count(|pod| pod.application == **name && !self.is_updated(pod)) > 0
        });
        let (name, error) = holding.next()?;
        Some(format!(
            "pods of IntegratedApp {name} keep their image until it is mended: {error}"
        ))
    }

    fn progress(&self) -> String {
        let updated = self.count(|pod| self.is_updated(pod));
        format!(
            "{updated} of {} pods have {}",
            self.survey.pods.len(),
            self.survey.update.image
        )
    }
}
