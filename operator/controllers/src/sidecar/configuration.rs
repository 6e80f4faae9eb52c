//! Which pods at rest refuse their configuration.
//!
//! Slots are asked when their orders or containers have changed, until they use the document of
//! their order or refuse it; never otherwise.

use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use outrigger_control::{PerSlot, Report, Slot};
use outrigger_rollout::{Answers, SwapPod};
use parking_lot::Mutex;

/// How long slots may take to use a document.
const PATIENCE: SignedDuration = SignedDuration::from_secs(20);

/// What a slot said against the document of its order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Refused {
    /// Name of the pod.
    pub(super) pod: String,
    pub(super) slot: Slot,
    /// What was found, where, and what is allowed.
    pub(super) message: String,
}

/// A pod whose slots were asked.
#[derive(Clone, Debug)]
struct Asked {
    shape: Shape,
    since: Timestamp,
    /// Whether there is nothing more to learn.
    settled: bool,
    refused: Option<Refused>,
}

/// The containers of a pod's slots and the documents that they are to use.
type Shape = PerSlot<(Option<String>, String)>;

/// What was learnt of pods, by UID, for each sidecar.
#[derive(Debug, Default)]
pub(super) struct Settling(Mutex<HashMap<String, HashMap<String, Asked>>>);

impl Settling {
    /// The pods of a sidecar to ask now. Those that are gone are forgotten.
    pub(super) fn unsettled<'a>(
        &self,
        sidecar: &str,
        pods: &'a [SwapPod],
        now: Timestamp,
    ) -> Vec<&'a SwapPod> {
        let mut known = self.0.lock();
        let known = known.entry(sidecar.to_owned()).or_default();
        known.retain(|uid, _| pods.iter().any(|pod| pod.uid == *uid));
        let resting = pods
            .iter()
            .filter(|pod| !pod.is_swapping() && !pod.deleting && runs(pod));
        resting
            .filter(|pod| {
                let shape = shape(pod);
                let asked = known.entry(pod.uid.clone()).or_insert_with(|| Asked {
                    shape: shape.clone(),
                    since: now,
                    settled: false,
                    refused: None,
                });
                if asked.shape != shape {
                    asked.shape = shape;
                    asked.since = now;
                    asked.settled = false;
                }
                !asked.settled
            })
            .collect()
    }

    /// Learns from the answers of pods; whether there is nothing more to learn of them.
    pub(super) fn learn(
        &self,
        sidecar: &str,
        pods: &[&SwapPod],
        answers: &BTreeMap<String, Answers>,
        now: Timestamp,
    ) -> bool {
        let mut known = self.0.lock();
        let known = known.entry(sidecar.to_owned()).or_default();
        for pod in pods {
            let (Some(asked), Some(answers)) = (known.get_mut(&pod.uid), answers.get(&pod.uid))
            else {
                continue;
            };
            let reports = Slot::BOTH.map(|slot| answers.of(slot).report());
            let decided = reports
                .iter()
                .flatten()
                .filter(|report| is_decided(pod, report))
                .count();
            let refused = reports.iter().flatten().find_map(|report| {
                Some(Refused {
                    pod: pod.name.clone(),
                    slot: report.slot,
                    message: refusal(pod, report)?,
                })
            });
            asked.settled =
                decided == Slot::BOTH.len() || now.duration_since(asked.since) >= PATIENCE;
            if refused.is_some() || decided == Slot::BOTH.len() {
                asked.refused = refused;
            }
        }
        let mut learnt = pods.iter().filter_map(|pod| known.get(&pod.uid));
        learnt.all(|asked| asked.settled)
    }

    /// The refusals of a sidecar's pods, sorted.
    pub(super) fn refusals(&self, sidecar: &str) -> Vec<Refused> {
        let known = self.0.lock();
        let asked = known.get(sidecar).into_iter().flat_map(HashMap::values);
        let mut refused: Vec<_> = asked.filter_map(|asked| asked.refused.clone()).collect();
        refused.sort();
        refused
    }

    /// Forgets a sidecar that is gone.
    pub(super) fn forget(&self, sidecar: &str) {
        self.0.lock().remove(sidecar);
    }
}

fn runs(pod: &SwapPod) -> bool {
    let mut slots = Slot::BOTH.into_iter();
    slots.all(|slot| pod.slots.of(slot).container.running)
}

fn shape(pod: &SwapPod) -> Shape {
    let of = |slot| {
        let container = &pod.slots.of(slot).container;
        (container.id.clone(), pod.order.config.of(slot).clone())
    };
    PerSlot {
        a: of(Slot::A),
        b: of(Slot::B),
    }
}

fn is_decided(pod: &SwapPod, report: &Report) -> bool {
    let wanted = pod.order.config.of(report.slot);
    report.configuration.hash.as_ref() == Some(wanted) || refusal(pod, report).is_some()
}

/// What a slot has against its document, or against an application's part of it.
fn refusal(pod: &SwapPod, report: &Report) -> Option<String> {
    let wanted = pod.order.config.of(report.slot);
    let configuration = &report.configuration;
    if let Some(refused) = &configuration.refused
        && refused.hash == *wanted
    {
        return Some(refused.message.clone());
    }
    if configuration.hash.as_ref() != Some(wanted) {
        return None;
    }
    let refused = &configuration.refused_tenants;
    let (application, message) = refused.first_key_value()?;
    let others = match refused.len() {
        1 => String::new(),
        several => format!(
            "; the parts of {} other applications are refused too",
            several - 1
        ),
    };
    Some(format!("application {application}: {message}{others}"))
}

#[cfg(test)]
mod tests;
