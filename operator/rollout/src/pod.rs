//! A pod, as far as the swap of one sidecar is concerned.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use json_patch::Patch;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use outrigger_control::{Order, PerSlot, Phase, Slot, layout};
use outrigger_injection as injection;
use outrigger_plan::{ControllerKind, Owners};
use serde_json::json;

use crate::Consumer;
use crate::slot::{SlotState, Slots};
use crate::swap::Change;

/// A pod with the slots of one sidecar.
#[derive(Clone, Debug)]
pub struct SwapPod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Who uses the sidecar.
    pub consumer: Consumer,
    /// The node it was given to.
    pub node: Option<String>,
    /// Its address.
    pub ip: Option<String>,
    /// The orders of the sidecar's slots.
    pub order: Order,
    /// The annotation that they were read from.
    pub annotation: String,
    /// The slots.
    pub slots: Slots,
    /// The generation of the spec.
    pub generation: i64,
    /// The generation of the spec that kubelet reports on.
    pub observed_generation: i64,
    /// Whether the pod is Ready.
    pub ready: bool,
    /// Whether the pod is being deleted.
    pub deleting: bool,
    /// Another sidecar of the pod that is being swapped.
    pub other_swap: Option<String>,
    /// Whether the pod belongs to a Job that counts a restart of a slot as a failure.
    pub job_counts_restarts: bool,
    /// The controller that would create it anew.
    pub controller: Option<OwnerReference>,
}

impl SwapPod {
    /// Reads a pod; `None` if it carries no such sidecar or has ended. An error says what of it
    /// cannot be understood.
    pub fn read(pod: &Pod, sidecar: &str) -> Result<Option<SwapPod>, String> {
        let status = pod.status.clone().unwrap_or_default();
        let ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let annotation = pod.annotations().get(&layout::order_annotation(sidecar));
        let (Some(consumer), Some(annotation)) = (Consumer::read(pod, sidecar), annotation) else {
            return Ok(None);
        };
        if ended {
            return Ok(None);
        }
        let name = pod.name_any();
        let order = Order::parse(annotation).map_err(|error| format!("pod {name}: its {error}"))?;
        let slot = |slot: Slot| {
            let container = injection::container_name(&order, sidecar, slot);
            SlotState::read(pod, &container)
                .ok_or_else(|| format!("pod {name} has no container {container}"))
        };
        let slots = PerSlot {
            a: slot(Slot::A)?,
            b: slot(Slot::B)?,
        };
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        let spec = pod.spec.as_ref();
        Ok(Some(SwapPod {
            uid: pod.uid().unwrap_or_default(),
            labels: pod.labels().clone(),
            consumer,
            node: spec.and_then(|spec| spec.node_name.clone()),
            ip: status.pod_ip,
            order,
            annotation: annotation.clone(),
            slots,
            generation: pod.metadata.generation.unwrap_or(0),
            observed_generation: status.observed_generation.unwrap_or(0),
            ready,
            deleting: pod.metadata.deletion_timestamp.is_some(),
            other_swap: other_swap(pod, sidecar),
            job_counts_restarts: counts_restarts(pod),
            controller: Owners::controller(pod.owner_references()).cloned(),
            name,
        }))
    }

    /// Name of a slot's container.
    pub(crate) fn container(&self, sidecar: &str, slot: Slot) -> String {
        injection::container_name(&self.order, sidecar, slot)
    }

    /// Whether kubelet has seen the pod's spec.
    pub(crate) fn is_observed(&self) -> bool {
        self.observed_generation >= self.generation
    }

    /// Whether both slots have a revision.
    pub fn has_both(&self, revision: &str) -> bool {
        Slot::BOTH
            .into_iter()
            .all(|slot| self.order.revision.of(slot) == revision)
    }

    /// Whether a slot has a revision.
    pub fn has(&self, revision: &str) -> bool {
        Slot::BOTH
            .into_iter()
            .any(|slot| self.order.revision.of(slot) == revision)
    }

    /// Whether the pod is not Ready on account of the sidecar.
    pub(crate) fn is_broken(&self) -> bool {
        !self.ready && self.broken().is_some()
    }

    /// Whether a swap has begun.
    pub fn is_swapping(&self) -> bool {
        self.order.phase != Phase::Rest || self.order.revision.a != self.order.revision.b
    }

    /// The slots whose containers cannot run, which a swap may mend although the pod is not Ready.
    pub(crate) fn broken(&self) -> Option<Slot> {
        Slot::BOTH.into_iter().find(|slot| {
            let container = &self.slots.of(*slot).container;
            !container.running && container.trouble.is_some()
        })
    }

    /// A count that no image string of the pod's slots had before: every patch of an image raises
    /// the generation, and the strings themselves hold the counts of former patches.
    pub(crate) fn fresh_count(&self) -> i64 {
        let counts = Slot::BOTH
            .into_iter()
            .filter_map(|slot| count(&self.slots.of(slot).image));
        counts
            .map(|count| count.saturating_add(1))
            .fold(self.generation, i64::max)
    }
}

/// The pods of a sidecar that have not ended, sorted by name, and what is wrong with those that
/// cannot be understood.
pub fn carriers<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    sidecar: &str,
) -> (Vec<SwapPod>, Vec<String>) {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for pod in pods {
        match SwapPod::read(pod, sidecar) {
            Ok(Some(pod)) => found.push(pod),
            Ok(None) => {}
            Err(error) => wrong.push(error),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    wrong.sort();
    (found, wrong)
}

/// The count in the tag `HASH-COUNT` of a slot's image.
fn count(image: &str) -> Option<i64> {
    let (name, _) = image.split_once('@')?;
    name.rsplit_once('-')?.1.parse().ok()
}

/// Another sidecar whose swap has begun.
fn other_swap(pod: &Pod, sidecar: &str) -> Option<String> {
    let others = injection::orders(pod).into_iter();
    let mut swapping = others.filter(|(name, order)| {
        name != sidecar
            && order.as_ref().is_ok_and(|order| {
                order.phase != Phase::Rest || order.revision.a != order.revision.b
            })
    });
    swapping.next().map(|(name, _)| name)
}

/// The Job controller adds up restarts of containers of pods that restart them.
fn counts_restarts(pod: &Pod) -> bool {
    let restarts = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.restart_policy.as_deref());
    let controller = Owners::controller(pod.owner_references()).map(ControllerKind::of);
    controller == Some(ControllerKind::Job) && restarts == Some("OnFailure")
}

/// One write to a pod: its new orders and, with them, the new image of at most one slot.
#[derive(Clone, Debug, PartialEq)]
pub struct PodChange {
    /// Name of the pod.
    pub pod: String,
    /// Its UID.
    pub uid: String,
    /// The orders before.
    pub before: Order,
    /// The orders after.
    pub after: Order,
    /// The slot with the new image, and the image.
    pub image: Option<(Slot, String)>,
    /// How long the sidecar was away, if its only container was replaced, in whole seconds.
    pub gap: Option<SignedDuration>,
    /// The patch: it changes nothing unless the pod is as it was seen.
    pub patch: Patch,
}

impl PodChange {
    pub(crate) fn new(
        pod: &SwapPod,
        sidecar: &str,
        change: Change,
    ) -> Result<PodChange, serde_json::Error> {
        let Change { order, image } = change;
        let replaced = pod.order.single && pod.order.phase == Phase::PatchOld;
        let gap = match replaced && order.phase != Phase::PatchOld {
            true => pod.slots.a.container.gap(),
            false => None,
        };
        let annotation = layout::order_annotation(sidecar).replace('/', "~1");
        let annotation = format!("/metadata/annotations/{annotation}");
        let mut operations = vec![
            json!({"op": "test", "path": "/metadata/uid", "value": pod.uid}),
            json!({"op": "test", "path": annotation, "value": pod.annotation}),
        ];
        if pod.generation > 0 {
            // Nobody else has patched an image since, of another sidecar for one.
            operations.push(json!({
                "op": "test", "path": "/metadata/generation", "value": pod.generation,
            }));
        }
        if let Some((slot, image)) = &image {
            let state = pod.slots.of(*slot);
            let path = format!("/spec/initContainers/{}", state.index);
            operations.extend([
                json!({"op": "test", "path": format!("{path}/name"), "value": pod.container(sidecar, *slot)}),
                json!({"op": "test", "path": format!("{path}/image"), "value": state.image}),
                json!({"op": "replace", "path": format!("{path}/image"), "value": image}),
            ]);
        }
        operations.push(json!({"op": "replace", "path": annotation, "value": order.to_json()?}));
        Ok(PodChange {
            pod: pod.name.clone(),
            uid: pod.uid.clone(),
            before: pod.order.clone(),
            after: order,
            image,
            gap,
            patch: serde_json::from_value(operations.into())?,
        })
    }
}
