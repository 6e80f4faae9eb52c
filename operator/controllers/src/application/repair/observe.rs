use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::Phase;
use outrigger_injection::orders;
use outrigger_plan::adopting;

use super::Unfit;
use super::decide::{Fate, PodState, Situation};
use super::memory::Memory;
use crate::application::read::{Found, FoundPod};
use crate::succession::{Controller, controller_uid, objection};

/// The pods that the application serves.
pub(super) fn served(found: &Found) -> Vec<Arc<Pod>> {
    let own_name = found.application.name_any();
    let is_served = |pod: &&FoundPod| {
        let candidates = found.applications.iter().map(AsRef::as_ref);
        let adoption = adopting(&pod.pod, &pod.owners, candidates);
        adoption.is_some_and(|adoption| adoption.serving.name_any() == own_name)
    };
    let served = found.pods.iter().filter(is_served);
    served.map(|found| Arc::clone(&found.pod)).collect()
}

/// How it stands with the pods.
pub(super) fn situation<'a>(
    found: &Found,
    pods: &[Arc<Pod>],
    controllers: &BTreeMap<String, Controller>,
    unfit: &Unfit,
    memory: &'a Memory,
) -> Situation<'a> {
    let states: Vec<_> = pods
        .iter()
        .map(|pod| {
            let ends = pod.metadata.deletion_timestamp.is_some();
            PodState {
                name: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                ready: is_ready(pod) && !ends,
                ends,
                fate: match unfit.contains_key(&pod.name_any()) && !ends {
                    true => fate(pod, controllers),
                    false => Fate::Fit,
                },
            }
        })
        .collect();
    let of = |uid: Option<&String>| {
        let pods = pods.iter();
        pods.filter(|pod| controller_uid(pod).as_ref() == uid)
            .count()
    };
    let others = pods.iter().filter(|pod| {
        let known = controller_uid(pod).is_some_and(|uid| controllers.contains_key(&uid));
        !known && pod.metadata.deletion_timestamp.is_none()
    });
    let all = controllers.iter();
    let missing = all.map(|(uid, controller)| controller.replicas.saturating_sub(of(Some(uid))));
    let wanted: usize = controllers.values().map(|one| one.replicas).sum();
    let desired = wanted + others.count();
    Situation {
        pods: states,
        desired,
        missing: missing.sum(),
        limit: limit(found, desired),
        memory,
    }
}

fn fate(pod: &Pod, controllers: &BTreeMap<String, Controller>) -> Fate {
    let known = controller_uid(pod).is_some_and(|uid| controllers.contains_key(&uid));
    let is_swapping = orders(pod).values().any(|order| {
        order
            .as_ref()
            .is_ok_and(|order| order.phase != Phase::Rest || order.revision.a != order.revision.b)
    });
    match (known, is_swapping) {
        (false, _) => Fate::Kept(objection(pod)),
        (true, true) => Fate::Swapping,
        (true, false) => Fate::Replace,
    }
}

/// The smallest of what the application's sidecars allow.
fn limit(found: &Found, desired: usize) -> usize {
    let sidecars = found.application.spec.sidecars.iter();
    let allowed = sidecars.filter_map(|usage| {
        let sidecar = found.referenced.sidecars.get(&usage.name)?;
        let share = sidecar.spec.effective_update().max_unavailable;
        Some(share.rounded_down(desired))
    });
    allowed.min().unwrap_or(1).max(1)
}

fn is_ready(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default()
        .iter();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
