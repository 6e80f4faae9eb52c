use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::board::Board;
use crate::explain::{self, Holders};
use crate::pin::{self, Target};
use crate::plan::{Candidate, plan};
use crate::pod::{Stage, View};
use crate::reading::Library;
use crate::stuck::{after, avoided_until, stuck, to_second};
use crate::{AskedFor, Avoided, Decision, Explanation, Mode, Release, Situation, Size, Waiting};

/// Seconds that a pod which may go anywhere waits for the first scan of its data.
const SCAN_SECONDS: u32 = 30;

/// What is done now about the pods of one application.
///
/// Each gated pod is either released or waits, for a reason and until a time.
pub fn decide(situation: &Situation) -> Decision {
    let mut views: Vec<_> = situation.pods.iter().map(View::of).collect();
    views.sort_by(|one, other| (&one.name, &one.uid).cmp(&(&other.name, &other.uid)));
    let stuck = stuck(situation, &views);
    let replaced = stuck
        .replacements
        .iter()
        .map(|replacement| replacement.uid.as_str());
    let replaced: BTreeSet<_> = replaced.collect();
    let mut decision = Decision {
        waiting: stuck.waiting,
        avoided: stuck.avoided.clone(),
        ..Decision::default()
    };
    let library = Library::new(&situation.data, &situation.nodes);
    let board = Board::new(situation, &views, &replaced, &stuck.avoided);
    let gated = views.iter().filter(|view| view.stage == Stage::Gated);
    let gated: Vec<_> = gated.collect();
    if !gated.is_empty() {
        let round = Round {
            situation,
            library,
            first_attempt: first_attempt(&stuck.avoided),
        };
        round.decide(&views, &gated, board, &mut decision);
    }
    decision.replacements = stuck.replacements;
    decision
        .releases
        .sort_by(|one, other| one.pod.cmp(&other.pod));
    decision
        .waiting
        .sort_by(|one, other| (&one.pod, &one.uid).cmp(&(&other.pod, &other.uid)));
    decision.deadline = deadline(&decision);
    decision
}

/// The release of a pod that goes wherever the scheduler likes, such as one of an application that
/// is gone; `None` if it is not gated by us.
pub fn let_go(pod: &Pod, reason: &str, now: Timestamp) -> Option<Release> {
    released_anywhere(pod, 0, reason, now)
}

fn released_anywhere(pod: &Pod, bytes: u64, reason: &str, now: Timestamp) -> Option<Release> {
    let explanation = Explanation {
        v: 1,
        node: None,
        mode: AskedFor::None,
        local_bytes: 0,
        total_bytes: bytes,
        runner_up: None,
        excluded: Default::default(),
        reason: reason.to_owned(),
        since: now,
    };
    Some(Release {
        pod: pod.name_any(),
        uid: pod.uid().unwrap_or_default(),
        patch: pin::release(pod, &Target::Anywhere, &explanation)?,
        explanation,
    })
}

/// When the first pod that is being replaced was attempted.
fn first_attempt(avoided: &[Avoided]) -> Option<Timestamp> {
    avoided.iter().map(|avoided| avoided.first_attempt).min()
}

fn deadline(decision: &Decision) -> Option<Timestamp> {
    let waiting = decision.waiting.iter().filter_map(|waiting| waiting.until);
    let gated = decision.waiting.iter().any(|waiting| waiting.gated);
    let avoided = decision.avoided.iter().filter(|_| gated).map(avoided_until);
    waiting.chain(avoided).min()
}

struct Round<'a> {
    situation: &'a Situation,
    library: Library<'a>,
    first_attempt: Option<Timestamp>,
}

impl<'a> Round<'a> {
    fn decide(
        &self,
        views: &'a [View<'a>],
        gated: &[&'a View<'a>],
        mut board: Board<'a>,
        decision: &mut Decision,
    ) {
        let mut candidates = Vec::new();
        for &view in gated {
            if self.situation.data.is_empty() {
                let reason = format!(
                    "no Dataset that IntegratedApp {} names exists, so it may run anywhere",
                    self.situation.application
                );
                let released = let_go(&view.app.pod, &reason, self.situation.now);
                decision.releases.extend(released);
            } else if let Some((reason, until)) = self.awaits_scan(view) {
                decision.waiting.push(waiting(view, reason, until));
            } else {
                candidates.push(Candidate::of(view, &self.library));
            }
        }
        candidates.retain(|candidate| {
            let Some(reason) = self.buys_nothing(candidate) else {
                return true;
            };
            let pod = &candidate.view.app.pod;
            let bytes = candidate.reading.bytes;
            let released = released_anywhere(pod, bytes, &reason, self.situation.now);
            decision.releases.extend(released);
            false
        });
        let (placeable, undecided): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .partition(|candidate| self.claims_decided(candidate));
        let planned = plan(self.situation, views, &self.library, &mut board, &placeable);
        for (candidate, node) in placeable.iter().zip(planned) {
            self.settle(&board, candidate, node, decision);
        }
        for candidate in &undecided {
            self.settle(&board, candidate, None, decision);
        }
    }

    /// What a pod waits for whose data were not scanned yet, and until when.
    fn awaits_scan(&self, view: &View<'_>) -> Option<(String, Timestamp)> {
        let (datasets, since) = self.library.pending.as_ref()?;
        let locality = self.situation.locality;
        let seconds = match locality.mode {
            Mode::Preferred => SCAN_SECONDS.min(locality.relax_after_seconds),
            Mode::Required => locality.relax_after_seconds,
        };
        let until = after(self.started(view).max(*since), seconds);
        let reason = format!(
            "waits for the first scan of Dataset {}, until {}",
            datasets.join(", "),
            to_second(until)
        );
        (self.situation.now < until).then_some((reason, until))
    }

    /// When a pod, or the one that it replaces, was attempted first.
    fn started(&self, view: &View<'_>) -> Timestamp {
        let earlier = self.first_attempt.unwrap_or(view.created);
        view.created.min(earlier)
    }

    /// Why it does not matter where a pod goes.
    fn buys_nothing(&self, candidate: &Candidate<'_>) -> Option<String> {
        let Situation { locality, .. } = self.situation;
        let reading = &candidate.reading;
        let incomplete = !self.library.unknown.is_empty() || self.library.pending.is_some();
        if incomplete && (locality.mode == Mode::Required || reading.bytes == 0) {
            return None;
        }
        if reading.bytes < locality.threshold_bytes {
            return Some(format!(
                "its data have {}, less than locality.thresholdBytes, {}, so it may run anywhere",
                Size(reading.bytes),
                Size(locality.threshold_bytes)
            ));
        }
        reading.holders().is_empty().then(|| {
            format!(
                "no node holds any of its {}, so it may run anywhere",
                Size(reading.bytes)
            )
        })
    }

    /// Whether a pod can be sent to a node by force: it is known where its own claims are.
    fn claims_decided(&self, candidate: &Candidate<'_>) -> bool {
        self.situation.locality.mode == Mode::Preferred
            || candidate.needs.undecided_claim().is_none()
    }

    /// Releases a pod to the node that was planned for it, or lets it wait for one.
    fn settle(
        &self,
        board: &Board<'_>,
        candidate: &Candidate<'_>,
        node: Option<usize>,
        decision: &mut Decision,
    ) {
        let Situation { locality, .. } = self.situation;
        let holds = |node: usize| candidate.reading.on(&board.nodes[node].name) > 0;
        let mut required = locality.mode == Mode::Required;
        let mut note = candidate.needs.undecided_claim();
        if required && !node.is_some_and(holds) {
            let until = after(self.started(candidate.view), locality.relax_after_seconds);
            let until = match &self.library.pending {
                Some((_, since)) => until.max(after(*since, locality.relax_after_seconds)),
                None => until,
            };
            if self.situation.now < until {
                let reason = self.waits_for(board, candidate, note, until);
                decision
                    .waiting
                    .push(waiting(candidate.view, reason, until));
                return;
            }
            required = false;
            let seconds = locality.relax_after_seconds;
            let relaxed = format!("it need not be near its data any more after {seconds} s");
            note = Some(match note {
                Some(note) => format!("{note}; {relaxed}"),
                None => relaxed,
            });
        }
        let (target, explanation) = explain::released(
            self.situation,
            board,
            &self.library,
            candidate,
            node,
            required,
            note,
        );
        let pod = &candidate.view.app.pod;
        let Some(patch) = pin::release(pod, &target, &explanation) else {
            return;
        };
        decision.releases.push(Release {
            pod: candidate.view.name.clone(),
            uid: candidate.view.uid.clone(),
            patch,
            explanation,
        });
    }

    /// What a pod waits for that has to be near its data.
    fn waits_for(
        &self,
        board: &Board<'_>,
        candidate: &Candidate<'_>,
        undecided: Option<String>,
        until: Timestamp,
    ) -> String {
        let bytes = Size(candidate.reading.bytes);
        let holders = Holders::of(board, candidate);
        let conflict = || candidate.needs.conflict(&self.situation.nodes);
        let unknown = self.library.unknown.first();
        let why = if let Some(undecided) = undecided {
            undecided
        } else if let Some(conflict) = conflict() {
            conflict
        } else if !holders.excluded.is_empty() {
            holders.ruled_out()
        } else if !holders.open.is_empty() {
            format!("they are for other pods of {}", self.situation.application)
        } else if let Some((dataset, reason)) = unknown {
            format!("Dataset {dataset} cannot be looked at: {reason}")
        } else {
            "no node holds any".to_owned()
        };
        let until = to_second(until);
        format!(
            "waits for a node that holds some of its {bytes} and can run it, until {until}: {why}"
        )
    }
}

fn waiting(view: &View<'_>, reason: String, until: Timestamp) -> Waiting {
    Waiting {
        pod: view.name.clone(),
        uid: view.uid.clone(),
        gated: true,
        reason,
        until: Some(until),
    }
}
