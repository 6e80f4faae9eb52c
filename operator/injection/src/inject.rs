use std::collections::BTreeMap;

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Pod, PodSchedulingGate, PodSpec, Volume};
use kube::ResourceExt;
use outrigger_api::SlotResources;
use outrigger_control::{Order, PerSlot, Phase, Slot, layout};
use outrigger_plan::{ApplicationPlan, SidecarPlan, revision_for_new_pod};
use serde_json::{Value, json};

use crate::conflicts::{display_name, is_slot, primaries, refuse_conflicts};
use crate::difference::differences;
use crate::patch::{Changes, json, unwritable};
use crate::resources::{Basis, RESOURCES_ANNOTATION, slot_resources};
use crate::slot::variable;
use crate::volumes::volumes;
use crate::{NamespaceRules, Refusal, Settings, carried, slot_container};

/// `since` of a new pod's orders: at rest since its creation, whose time an injector that always
/// gives the same answer cannot tell.
pub const SINCE_CREATION: &str = "1970-01-01T00:00:00Z";

/// The patch that gives a new pod the sidecars of its application, and the scheduling gate
/// [`layout::PLACEMENT_GATE`] if it is `gated`: to wait for a node near its data.
///
/// It is empty for a pod that has them already, so that a second call, after other webhooks have
/// changed the pod, adds nothing and leaves what they made of the slots.
pub fn inject(
    pod: &Pod,
    plan: &ApplicationPlan,
    settings: &Settings,
    namespace: &NamespaceRules,
    gated: bool,
) -> Result<Patch, Refusal> {
    let spec = pod.spec.as_ref().ok_or_else(|| Refusal::NoSpec {
        pod: display_name(pod),
    })?;
    refuse_conflicts(pod, spec, plan)?;
    let mut changes = Changes::default();
    let annotations = annotations(plan)?;
    let label = (layout::APPLICATION_LABEL, plan.application.name.as_str());
    patch_metadata(&mut changes, pod, &annotations, Some(label));
    patch_volumes(&mut changes, pod, spec, plan)?;
    patch_slots(&mut changes, pod, spec, plan, settings, namespace)?;
    patch_pull_secrets(&mut changes, spec, plan);
    patch_environment(&mut changes, pod, spec, plan)?;
    patch_gate(&mut changes, spec, gated);
    Ok(changes.into_patch())
}

/// The patch that takes the operator's annotations, labels and scheduling gate off a pod of no
/// application: slots and controllers would believe them, and nobody would take the gate away.
pub fn disown(pod: &Pod) -> Patch {
    let mut changes = Changes::default();
    patch_metadata(&mut changes, pod, &BTreeMap::new(), None);
    if let Some(spec) = &pod.spec {
        patch_gate(&mut changes, spec, false);
    }
    changes.into_patch()
}

/// Puts the gate after those of others, or takes it away.
fn patch_gate(changes: &mut Changes, spec: &PodSpec, gated: bool) {
    let found = spec.scheduling_gates.as_deref().unwrap_or_default();
    let ours = |gate: &PodSchedulingGate| gate.name == layout::PLACEMENT_GATE;
    match (gated, found.iter().position(ours)) {
        (true, None) => {
            let path = ["spec", "schedulingGates"];
            changes.ensure(spec.scheduling_gates.is_some(), path, json!([]));
            let gate = json!({"name": layout::PLACEMENT_GATE});
            changes.add(["spec", "schedulingGates", "-"], gate);
        }
        (false, Some(index)) => changes.remove(["spec", "schedulingGates", &index.to_string()]),
        (true, Some(_)) | (false, None) => {}
    }
}

/// What the operator's annotations of a new pod are to be.
fn annotations(plan: &ApplicationPlan) -> Result<BTreeMap<String, String>, Refusal> {
    let mut annotations = BTreeMap::new();
    let mut resources: BTreeMap<&str, &SlotResources> = BTreeMap::new();
    for sidecar in &plan.sidecars {
        let key = layout::order_annotation(sidecar.name());
        let order = first_order(sidecar)
            .to_json()
            .map_err(|error| unwritable(&key, &error))?;
        annotations.insert(key, order);
        if let Some(wanted) = &sidecar.sidecar.spec.resources {
            resources.insert(sidecar.name(), wanted);
        }
    }
    if !resources.is_empty() {
        let text = serde_json::to_string(&resources)
            .map_err(|error| unwritable(RESOURCES_ANNOTATION, &error))?;
        annotations.insert(RESOURCES_ANNOTATION.to_owned(), text);
    }
    Ok(annotations)
}

fn first_order(sidecar: &SidecarPlan) -> Order {
    let (revision, _) = revision_for_new_pod(&sidecar.sidecar);
    Order {
        v: Order::VERSION,
        term: 1,
        active: Slot::A,
        config: PerSlot::both(sidecar.document_hash.clone()),
        revision: PerSlot::both(revision),
        admin: sidecar.admin.clone(),
        phase: Phase::Rest,
        since: SINCE_CREATION.to_owned(),
        single: false,
        replaced: None,
        notes: Default::default(),
    }
}

/// Sets the operator's annotations and label, and removes others of its prefix: whoever creates a
/// pod does not write them.
fn patch_metadata(
    changes: &mut Changes,
    pod: &Pod,
    annotations: &BTreeMap<String, String>,
    label: Option<(&str, &str)>,
) {
    let wanted = annotations
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    patch_map(
        changes,
        "annotations",
        pod.metadata.annotations.as_ref(),
        &wanted,
    );
    let wanted = label.into_iter().collect();
    patch_map(changes, "labels", pod.metadata.labels.as_ref(), &wanted);
}

fn patch_map(
    changes: &mut Changes,
    field: &str,
    found: Option<&BTreeMap<String, String>>,
    wanted: &BTreeMap<&str, &str>,
) {
    if !wanted.is_empty() {
        changes.ensure(found.is_some(), ["metadata", field], json!({}));
    }
    let ours = found
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| key.starts_with(layout::ANNOTATION_PREFIX))
        .collect::<BTreeMap<_, _>>();
    for key in ours.keys().filter(|key| !wanted.contains_key(*key)) {
        changes.remove(["metadata", field, key]);
    }
    for (key, value) in wanted
        .iter()
        .filter(|(key, value)| ours.get(*key) != Some(value))
    {
        changes.add(["metadata", field, key], Value::from(*value));
    }
}

fn patch_volumes(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let wanted = volumes(plan);
    let injected = plan
        .sidecars
        .iter()
        .any(|sidecar| carried::carries(pod, sidecar.name()));
    let found = spec.volumes.as_deref().unwrap_or_default();
    if !wanted.is_empty() {
        changes.ensure(spec.volumes.is_some(), ["spec", "volumes"], json!([]));
    }
    for volume in &wanted {
        let same_name = |other: &Volume| other.name == volume.name;
        match found.iter().position(same_name) {
            None => changes.add(["spec", "volumes", "-"], json(&volume.name, volume)?),
            Some(index) if found[index] == *volume => {}
            Some(index) if injected => changes.replace(
                ["spec", "volumes", &index.to_string()],
                json(&volume.name, volume)?,
            ),
            Some(_) => {
                return Err(Refusal::VolumeName {
                    pod: display_name(pod),
                    name: volume.name.clone(),
                    application: plan.application.name.clone(),
                });
            }
        }
    }
    Ok(())
}

/// Puts slots before all init containers, in the order of the plan.
fn patch_slots(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<(), Refusal> {
    let basis = Basis::of(spec, |container| is_slot(pod, plan, container));
    let mut outdated = Vec::new();
    let mut fresh = Vec::new();
    for sidecar in &plan.sidecars {
        let (_, image) = revision_for_new_pod(&sidecar.sidecar);
        let wanted = sidecar.sidecar.spec.resources.as_ref();
        let resources = slot_resources(sidecar.name(), wanted, basis, namespace)?;
        let slots = Slot::BOTH.map(|slot| {
            let resources = resources.clone();
            slot_container(
                &plan.application,
                sidecar,
                slot,
                &image,
                resources,
                settings,
            )
        });
        let current = Slot::BOTH.into_iter().zip(&slots).all(|(slot, wanted)| {
            carried::slot_spec(pod, sidecar.name(), slot)
                .is_some_and(|found| differences(found, wanted).is_empty())
        });
        if current && carries_order(pod, sidecar) {
            continue;
        }
        let indices = Slot::BOTH
            .into_iter()
            .filter_map(|slot| carried::slot_index(pod, sidecar.name(), slot));
        outdated.extend(indices);
        fresh.extend(slots);
    }
    outdated.sort_unstable();
    for index in outdated.into_iter().rev() {
        changes.remove(["spec", "initContainers", &index.to_string()]);
    }
    if !fresh.is_empty() {
        let present = spec.init_containers.is_some();
        changes.ensure(present, ["spec", "initContainers"], json!([]));
    }
    for (index, container) in fresh.iter().enumerate() {
        let path = ["spec", "initContainers", &index.to_string()];
        changes.add(path, json(&container.name, container)?);
    }
    Ok(())
}

fn carries_order(pod: &Pod, sidecar: &SidecarPlan) -> bool {
    pod.annotations()
        .get(&layout::order_annotation(sidecar.name()))
        .and_then(|text| Order::parse(text).ok())
        .is_some_and(|found| found == first_order(sidecar))
}

fn patch_pull_secrets(changes: &mut Changes, spec: &PodSpec, plan: &ApplicationPlan) {
    let mut missing = pull_secrets(plan);
    missing.retain(|name| {
        let mut found = spec.image_pull_secrets.iter().flatten();
        !found.any(|secret| secret.name == *name)
    });
    if missing.is_empty() {
        return;
    }
    let path = ["spec", "imagePullSecrets"];
    changes.ensure(spec.image_pull_secrets.is_some(), path, json!([]));
    for name in missing {
        changes.add(["spec", "imagePullSecrets", "-"], json!({"name": name}));
    }
}

/// Names of the pull secrets of all sidecars, each once.
pub(crate) fn pull_secrets(plan: &ApplicationPlan) -> Vec<&str> {
    let mut names = Vec::new();
    for sidecar in &plan.sidecars {
        for secret in sidecar.sidecar.spec.image_pull_secrets.iter().flatten() {
            if !names.contains(&secret.name.as_str()) {
                names.push(secret.name.as_str());
            }
        }
    }
    names
}

/// Puts the functions' addresses before the containers' own variables, which may refer to them.
fn patch_environment(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let mut missing: BTreeMap<usize, Vec<Value>> = BTreeMap::new();
    let mut replaced = Vec::new();
    for sidecar in &plan.sidecars {
        for function in &sidecar.functions {
            let name = layout::function_url_variable(&function.name);
            let wanted = variable(&name, &layout::function_url(function.port));
            for (index, container) in primaries(spec, sidecar) {
                let own = container.env.as_deref().unwrap_or_default();
                let Some(at) = own.iter().position(|found| found.name == name) else {
                    let value = json(&name, &wanted)?;
                    missing.entry(index).or_default().push(value);
                    continue;
                };
                if own[at] == wanted {
                    continue;
                }
                if !carried::carries(pod, sidecar.name()) {
                    return Err(Refusal::Variable {
                        pod: display_name(pod),
                        container: container.name.clone(),
                        name,
                        function: function.name.clone(),
                    });
                }
                replaced.push((index, at, json(&name, &wanted)?));
            }
        }
    }
    // Positions of replaced variables hold until others are put before them.
    for (index, at, value) in replaced {
        let (index, at) = (index.to_string(), at.to_string());
        changes.replace(["spec", "containers", &index, "env", &at], value);
    }
    for (index, values) in missing {
        let present = spec.containers[index].env.is_some();
        let index = index.to_string();
        changes.ensure(present, ["spec", "containers", &index, "env"], json!([]));
        for (at, value) in values.into_iter().enumerate() {
            let at = at.to_string();
            changes.add(["spec", "containers", &index, "env", &at], value);
        }
    }
    Ok(())
}
