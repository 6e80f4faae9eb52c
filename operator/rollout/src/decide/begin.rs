//! Which pods are begun now.

use std::sync::Arc;

use outrigger_api::UpdateStrategy;
use outrigger_control::Slot;
use outrigger_plan::{ControllerKind, revision_for_new_pod};

use super::drift::Drift;
use super::{HEARD, RECHECK, Rollout};
use crate::budget::Budgets;
use crate::limits::Limits;
use crate::revision::KnownRevision;
use crate::{Action, SwapPod};

/// What is begun with a pod.
enum Next {
    /// Both slots get a revision.
    Swap(KnownRevision),
    /// Its successor gets a revision.
    Evict(KnownRevision),
    /// A slot gets its own image again.
    GiveBack(Slot, KnownRevision),
}

impl Rollout<'_> {
    /// Begins as many pods as may be disturbed at once.
    pub(super) fn begin(&mut self) {
        let update = self.seen.sidecar.spec.effective_update();
        if update.paused {
            return;
        }
        let tried = self.is_tried();
        let pods = Arc::clone(&self.pods);
        let mut limits = self.limits();
        let mut budgets = None;
        let mut is_full = false;
        let mut resting: Vec<_> = pods
            .iter()
            .filter(|pod| !pod.is_swapping() && !pod.deleting)
            .collect();
        // At every look, one that is refused again would take the room of those that are not.
        resting.sort_by_key(|pod| self.seen.refused.iter().position(|name| *name == pod.name));
        for pod in resting {
            let Some(next) = self.next(pod, tried, update.rolls_back) else {
                continue;
            };
            // What is disturbed already takes no room, and may be what holds it.
            let counted = self.is_disturbed(pod);
            // Whom a pod that is not Ready does not serve, its eviction takes nothing from.
            let serves = pod.ready || !matches!(next, Next::Evict(_));
            if !counted && serves && !limits.admits(pod) {
                is_full = true;
                continue;
            }
            if let Some(obstacle) = self.obstacle(pod, &next) {
                self.waiting.push(obstacle);
                continue;
            }
            if pod.ready {
                let Some(found) = self.seen.budgets else {
                    self.ask_budgets = true;
                    break;
                };
                let budgets = budgets.get_or_insert_with(|| {
                    // A budget knows of pods that are not Ready, and of those that leave.
                    let known = |pod: &&SwapPod| !pod.ready || pod.deleting;
                    let swapped = pods.iter().filter(|pod| {
                        !known(pod) && (self.survey.is_in_swap(pod) || pod.other_swap.is_some())
                    });
                    Budgets::new(found, swapped)
                });
                if let Some(budget) = budgets.forbidding(pod) {
                    self.waiting.push(format!(
                        "pod {}: PodDisruptionBudget {budget} allows no disruption now",
                        pod.name
                    ));
                    continue;
                }
                budgets.take(pod);
            }
            if !counted {
                limits.take(pod);
            }
            self.begin_one(pod, &next);
        }
        if is_full {
            self.waiting.extend(self.holds_room());
        }
        if !self.waiting.is_empty() {
            self.look_again(RECHECK);
        }
    }

    fn next(&mut self, pod: &SwapPod, tried: bool, rolls_back: bool) -> Option<Next> {
        if let Some(target) = self.survey.next_of(pod, tried, rolls_back) {
            if self.survey.strategy != UpdateStrategy::Recreate {
                return Some(Next::Swap(target));
            }
            // Its successor gets what the status says, which is written after this look.
            if revision_for_new_pod(self.seen.sidecar).0 == target.name {
                return Some(Next::Evict(target));
            }
            self.look_again(HEARD);
            return None;
        }
        match self.drift(pod)? {
            Drift::Correct(slot, revision) => Some(Next::GiveBack(slot, revision)),
            Drift::Again(what) => {
                self.drifts.push(what);
                None
            }
        }
    }

    fn begin_one(&mut self, pod: &SwapPod, next: &Next) {
        match next {
            Next::Swap(target) => self.advance(pod, target),
            Next::GiveBack(slot, revision) => self.correct(pod, *slot, revision),
            Next::Evict(target) => {
                self.evictions.begin(pod, self.seen.now);
                self.actions.push(Action::Evict {
                    pod: pod.name.clone(),
                    uid: pod.uid.clone(),
                    revision: target.name.clone(),
                });
            }
        }
    }

    fn limits(&self) -> Limits {
        let share = self.seen.sidecar.spec.effective_update().max_unavailable;
        let mut limits = Limits::new(&self.pods, share, |pod| self.is_disturbed(pod));
        for (consumer, count) in self.seen.missing {
            limits.take_missing(consumer, *count);
        }
        limits
    }

    /// Whether a pod is not as its users left it, and that on our account. A pod that was broken
    /// before, or whose node is gone, is none of those.
    fn is_disturbed(&self, pod: &SwapPod) -> bool {
        self.survey.is_in_swap(pod)
            || self.is_in_other_swap(pod)
            || self.is_broken_by_us(pod)
            || self.evictions.counts(pod)
    }

    /// Whether another sidecar of a pod is being swapped: its users lose no second pod to this one.
    fn is_in_other_swap(&self, pod: &SwapPod) -> bool {
        pod.other_swap.is_some() && !pod.deleting && !self.survey.is_lost(pod)
    }

    /// Whether a pod is at rest with the spec's revision, and not Ready because of it.
    fn is_broken_by_us(&self, pod: &SwapPod) -> bool {
        !pod.is_swapping()
            && !pod.deleting
            && !self.survey.is_lost(pod)
            && self.survey.update.name != self.survey.current.name
            && pod.has_both(&self.survey.update.name)
            && pod.is_broken()
    }

    /// The first pod at rest that leaves no room for others, and why; one in a swap tells by itself.
    fn holds_room(&self) -> Option<String> {
        let pod = self.pods.iter().find(|pod| self.is_broken_by_us(pod))?;
        let slot = pod.broken()?;
        let trouble = pod.slots.of(slot).container.trouble.as_deref()?;
        Some(format!(
            "pod {} holds the room of spec.update.maxUnavailable: container {} does not run: {trouble}",
            pod.name,
            pod.container(&self.survey.name, slot)
        ))
    }

    /// Waits for the pods that their controllers have not created yet.
    pub(super) fn await_successors(&mut self) {
        if let Some(missing) = self.missing_successors() {
            self.waiting.push(missing);
            self.look_again(RECHECK);
        }
    }

    fn missing_successors(&self) -> Option<String> {
        let mut missing = self.seen.missing.iter().filter(|(_, count)| **count > 0);
        let (consumer, count) = missing.next()?;
        Some(match count {
            1 => format!("a pod of {consumer} is still to be created"),
            _ => format!("{count} pods of {consumer} are still to be created"),
        })
    }

    /// Why a pod cannot be begun now, budgets apart.
    fn obstacle(&self, pod: &SwapPod, next: &Next) -> Option<String> {
        if self.survey.is_lost(pod) {
            let node = pod.node.as_deref().unwrap_or_default();
            return Some(format!("pod {}: its node {node} is not Ready", pod.name));
        }
        if let Some(other) = &pod.other_swap {
            return Some(format!(
                "pod {}: sidecar {other} is being swapped",
                pod.name
            ));
        }
        if matches!(next, Next::Evict(_)) {
            return no_successor(pod);
        }
        if self.survey.config(pod).is_none() && !pod.order.single {
            return Some(format!(
                "pod {}: the configuration of {} is being written",
                pod.name, pod.consumer
            ));
        }
        // What a slot that cannot run has broken, a new image may mend.
        (!pod.ready && pod.broken().is_none()).then(|| format!("pod {} is not Ready", pod.name))
    }
}

/// Why nobody knows well enough that a pod would be created anew, and with what.
fn no_successor(pod: &SwapPod) -> Option<String> {
    let name = &pod.name;
    let Some(controller) = &pod.controller else {
        return Some(format!(
            "pod {name} has no controller that would create it anew"
        ));
    };
    match ControllerKind::of(controller) {
        ControllerKind::ReplicaSet
        | ControllerKind::StatefulSet
        | ControllerKind::IntegrationSidecar => None,
        ControllerKind::DaemonSet | ControllerKind::Job | ControllerKind::Other => Some(format!(
            "pod {name} is of a {} of {}, and only pods of ReplicaSets and StatefulSets of apps are evicted",
            controller.kind, controller.api_version
        )),
    }
}
