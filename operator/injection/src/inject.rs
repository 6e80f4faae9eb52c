use std::collections::{BTreeMap, BTreeSet};

use json_patch::Patch;
use k8s_openapi::api::core::v1::{Pod, PodSchedulingGate, PodSpec, Volume, VolumeMount};
use outrigger_control::layout;
use outrigger_plan::{ApplicationPlan, revision_for_new_pod};
use serde_json::{Value, json};

use crate::annotations::annotations;
use crate::conflicts::{display_name, our_containers, refuse_conflicts};
use crate::credentials::is_credential_volume;
use crate::difference::{differences, is_same_mount};
use crate::given::{mounts, variables};
use crate::patch::{Changes, json};
use crate::resident::Resident;
use crate::resources::{Basis, slot_resources};
use crate::slot::variable;
use crate::volumes::{NO_TOKEN_VOLUME, is_secret_volume};
use crate::{NamespaceRules, Refusal, Settings, carried};

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
    let residents = Resident::all(plan);
    let mut changes = Changes::default();
    let annotations = annotations(&residents)?;
    let label = (layout::APPLICATION_LABEL, plan.application.name.as_str());
    patch_metadata(&mut changes, pod, &annotations, Some(label));
    patch_volumes(&mut changes, pod, spec, plan, &residents)?;
    patch_residents(&mut changes, pod, spec, &residents, settings, namespace)?;
    patch_pull_secrets(&mut changes, spec, &residents);
    patch_environment(&mut changes, pod, spec, plan)?;
    patch_mounts(&mut changes, pod, spec, plan)?;
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

/// Adds the volumes of the residents, and takes away those of sidecars that an earlier injection
/// gave to the pod and that are no longer in it: a volume of theirs that cannot be mounted would
/// keep the pod from starting.
fn patch_volumes(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
    residents: &[Resident<'_>],
) -> Result<(), Refusal> {
    let wanted = volumes(residents);
    let was_injected = !carried::residents(pod).is_empty();
    let found = spec.volumes.as_deref().unwrap_or_default();
    let mut added = Vec::new();
    for volume in &wanted {
        let same_name = |other: &Volume| other.name == volume.name;
        match found.iter().position(same_name) {
            None => added.push(json(&volume.name, volume)?),
            Some(index) if found[index] == *volume => {}
            Some(index) if was_injected => changes.replace(
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
    let former = match was_injected {
        true => former_volumes(pod),
        false => BTreeSet::new(),
    };
    for (index, volume) in found.iter().enumerate().rev() {
        let is_wanted = wanted.iter().any(|wanted| wanted.name == volume.name);
        if former.contains(&volume.name) && !is_wanted {
            changes.remove(["spec", "volumes", &index.to_string()]);
        }
    }
    if !added.is_empty() {
        changes.ensure(spec.volumes.is_some(), ["spec", "volumes"], json!([]));
    }
    for volume in added {
        changes.add(["spec", "volumes", "-"], volume);
    }
    Ok(())
}

/// The volumes of all residents, each once.
fn volumes(residents: &[Resident<'_>]) -> Vec<Volume> {
    let mut volumes: Vec<_> = residents.iter().flat_map(Resident::volumes).collect();
    // What is common comes last.
    volumes.sort_by_key(|volume| volume.name == NO_TOKEN_VOLUME);
    let mut seen = BTreeSet::new();
    volumes.retain(|volume| seen.insert(volume.name.clone()));
    volumes
}

/// Names of the volumes of an earlier injection that no other container mounts.
fn former_volumes(pod: &Pod) -> BTreeSet<String> {
    let spec = pod.spec.iter();
    let mut names: BTreeSet<_> = spec
        .clone()
        .flat_map(|spec| spec.volumes.iter().flatten())
        .map(|volume| volume.name.clone())
        .filter(|name| is_secret_volume(name) || is_credential_volume(name))
        .collect();
    for sidecar in carried::residents(pod).keys() {
        names.extend([
            layout::control_volume(sidecar),
            layout::shared_volume(sidecar),
        ]);
    }
    let ours = our_containers(pod);
    let containers = spec.flat_map(|spec| {
        spec.init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
    });
    for container in containers.filter(|container| !ours.contains(&container.name)) {
        for mount in container.volume_mounts.iter().flatten() {
            names.remove(&mount.name);
        }
    }
    names
}

/// Puts the containers of residents before all init containers, in the order of the plan. Those of
/// an earlier injection stay if they are as wanted, and go otherwise.
fn patch_residents(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    residents: &[Resident<'_>],
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<(), Refusal> {
    let mut outdated = our_containers(pod);
    let basis = Basis::of(spec, |container| outdated.contains(&container.name));
    let carried = carried::residents(pod);
    let mut fresh = Vec::new();
    for resident in residents {
        let (_, image) = revision_for_new_pod(resident.sidecar);
        let wanted = resident.sidecar.spec.resources.as_ref();
        let resources = slot_resources(resident.name(), wanted, basis, namespace)?;
        let containers = resident.containers(&image, resources.as_ref(), settings);
        let is_current = carried.get(resident.name()) == Some(&resident.first_order())
            && containers.iter().all(|wanted| {
                carried::container(pod, &wanted.name)
                    .is_some_and(|found| differences(found, wanted).is_empty())
            });
        match is_current {
            true => outdated.retain(|name| containers.iter().all(|found| found.name != *name)),
            false => fresh.extend(containers),
        }
    }
    let init = spec.init_containers.iter().flatten().enumerate();
    let outdated: Vec<_> = init
        .filter(|(_, container)| outdated.contains(&container.name))
        .map(|(index, _)| index)
        .collect();
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

fn patch_pull_secrets(changes: &mut Changes, spec: &PodSpec, residents: &[Resident<'_>]) {
    let mut missing = pull_secrets(residents);
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

/// Names of the pull secrets of all residents, each once.
pub(crate) fn pull_secrets<'a>(residents: &[Resident<'a>]) -> Vec<&'a str> {
    let mut names = Vec::new();
    for resident in residents {
        for secret in resident.sidecar.spec.image_pull_secrets.iter().flatten() {
            if !names.contains(&secret.name.as_str()) {
                names.push(secret.name.as_str());
            }
        }
    }
    names
}

/// Whether the pod is a copy of one that the application had.
fn is_copy(pod: &Pod, plan: &ApplicationPlan) -> bool {
    carried::application(pod) == Some(plan.application.name.as_str())
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
    for given in variables(spec, plan) {
        let container = &spec.containers[given.container];
        let wanted = variable(&given.name, &given.value);
        let own = container.env.as_deref().unwrap_or_default();
        let Some(at) = own.iter().position(|found| found.name == given.name) else {
            let value = json(&given.name, &wanted)?;
            missing.entry(given.container).or_default().push(value);
            continue;
        };
        if own[at] == wanted {
            continue;
        }
        if !is_copy(pod, plan) {
            return Err(Refusal::Variable {
                pod: display_name(pod),
                container: container.name.clone(),
                name: given.name,
                function: given.function,
            });
        }
        replaced.push((given.container, at, json(&given.name, &wanted)?));
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

/// Mounts the directories with sockets.
fn patch_mounts(
    changes: &mut Changes,
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let mut begun = BTreeSet::new();
    for given in mounts(spec, plan) {
        let container = &spec.containers[given.container];
        let index = given.container.to_string();
        let value = json(&given.mount.name, &given.mount)?;
        let own = container.volume_mounts.as_deref().unwrap_or_default();
        let same_path = |found: &VolumeMount| found.mount_path == given.mount.mount_path;
        match own.iter().position(same_path) {
            None => {
                let present = container.volume_mounts.is_some() || !begun.insert(given.container);
                let path = ["spec", "containers", &index, "volumeMounts"];
                changes.ensure(present, path, json!([]));
                let end = ["spec", "containers", &index, "volumeMounts", "-"];
                changes.add(end, value);
            }
            Some(at) if is_same_mount(&own[at], &given.mount) => {}
            Some(at) if is_copy(pod, plan) => {
                let at = at.to_string();
                changes.replace(["spec", "containers", &index, "volumeMounts", &at], value);
            }
            Some(_) => {
                return Err(Refusal::MountPath {
                    pod: display_name(pod),
                    container: container.name.clone(),
                    path: given.mount.mount_path,
                    sidecar: given.sidecar,
                });
            }
        }
    }
    Ok(())
}
