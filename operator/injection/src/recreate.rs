use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use kube::ResourceExt;
use outrigger_api::SlotResources;
use outrigger_control::{Slot, layout};
use outrigger_plan::{ApplicationPlan, SidecarPlan};

use crate::conflicts::primaries;
use crate::difference::differences;
use crate::inject::pull_secrets;
use crate::resources::RESOURCES_ANNOTATION;
use crate::{Settings, carried, slot_container};

/// Names of the fields of a pod that cannot change in place and would differ if the pod were
/// created now, sorted. Image and configuration are not among them: swaps and orders bring those.
pub fn requires_recreate(pod: &Pod, plan: &ApplicationPlan, settings: &Settings) -> Vec<String> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let mut fields = BTreeSet::new();
    if carried::application(pod) != Some(plan.application.name.as_str()) {
        fields.insert(format!("metadata.labels[{}]", layout::APPLICATION_LABEL));
    }
    for sidecar in &plan.sidecars {
        fields.extend(slot_fields(pod, plan, sidecar, settings));
    }
    fields.extend(removed_slots(pod, plan));
    fields.extend(variables(spec, plan));
    for name in pull_secrets(plan) {
        let mut found = spec.image_pull_secrets.iter().flatten();
        if !found.any(|secret| secret.name == name) {
            fields.insert(format!("spec.imagePullSecrets[{name}]"));
        }
    }
    fields.into_iter().collect()
}

fn slot_fields(
    pod: &Pod,
    plan: &ApplicationPlan,
    sidecar: &SidecarPlan,
    settings: &Settings,
) -> Vec<String> {
    let mut fields = Vec::new();
    for slot in Slot::BOTH {
        let path = format!("spec.initContainers[{}]", slot.container(sidecar.name()));
        let Some(found) = carried::slot_spec(pod, sidecar.name(), slot) else {
            fields.push(path);
            continue;
        };
        let image = found.image.as_deref().unwrap_or_default();
        let wanted = slot_container(&plan.application, sidecar, slot, image, None, settings);
        let differing = differences(found, &wanted);
        fields.extend(differing.into_iter().map(|field| format!("{path}.{field}")));
        if made_from(pod, sidecar.name()).as_ref() != sidecar.sidecar.spec.resources.as_ref() {
            fields.push(format!("{path}.resources"));
        }
    }
    fields
}

/// The `spec.resources` that the slots of a sidecar were made from.
fn made_from(pod: &Pod, sidecar: &str) -> Option<SlotResources> {
    let text = pod.annotations().get(RESOURCES_ANNOTATION)?;
    let mut resources: BTreeMap<String, SlotResources> = serde_json::from_str(text).ok()?;
    resources.remove(sidecar)
}

fn removed_slots(pod: &Pod, plan: &ApplicationPlan) -> Vec<String> {
    carried::orders(pod)
        .keys()
        .filter(|name| plan.sidecars.iter().all(|sidecar| sidecar.name() != *name))
        .flat_map(|name| Slot::BOTH.map(|slot| slot.container(name)))
        .map(|container| format!("spec.initContainers[{container}]"))
        .collect()
}

/// Addresses of functions that containers lack, have wrongly, or have no more use for.
fn variables(spec: &PodSpec, plan: &ApplicationPlan) -> Vec<String> {
    let mut wanted: BTreeMap<(&str, String), String> = BTreeMap::new();
    for sidecar in &plan.sidecars {
        for function in &sidecar.functions {
            let name = layout::function_url_variable(&function.name);
            for (_, container) in primaries(spec, sidecar) {
                let key = (container.name.as_str(), name.clone());
                wanted.insert(key, layout::function_url(function.port));
            }
        }
    }
    let mut found = BTreeMap::new();
    for container in &spec.containers {
        found.extend(function_addresses(container));
    }
    let differing = wanted
        .iter()
        .filter(|(key, value)| found.get(*key) != Some(*value))
        .chain(found.iter().filter(|(key, _)| !wanted.contains_key(*key)));
    differing
        .map(|((container, name), _)| format!("spec.containers[{container}].env[{name}]"))
        .collect()
}

/// The variables of a container that have the form that injection gives them.
fn function_addresses(container: &Container) -> BTreeMap<(&str, String), String> {
    let (prefix, suffix) = ("OUTRIGGER_", "_URL");
    container
        .env
        .iter()
        .flatten()
        .filter(|variable| variable.name.starts_with(prefix) && variable.name.ends_with(suffix))
        .filter_map(|variable| {
            let value = variable.value.clone()?;
            Some(((container.name.as_str(), variable.name.clone()), value))
        })
        .collect()
}
