use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Pod, PodSpec};
use outrigger_control::layout;
use outrigger_plan::ApplicationPlan;

use crate::annotations::{ENVIRONMENT_ANNOTATION, RESOURCES_ANNOTATION, recorded};
use crate::difference::{differences, is_same_mount};
use crate::given::{is_given_mount, is_given_name, mounts, variables};
use crate::inject::pull_secrets;
use crate::resident::Resident;
use crate::{Settings, carried};

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
    fields.extend(variable_fields(spec, plan));
    fields.extend(mount_fields(spec, plan));
    fields.extend(fields_of_residents(
        pod,
        spec,
        &Resident::all(plan),
        settings,
    ));
    fields.into_iter().collect()
}

fn fields_of_residents(
    pod: &Pod,
    spec: &PodSpec,
    residents: &[Resident<'_>],
    settings: &Settings,
) -> Vec<String> {
    let mut fields = removed_containers(pod, residents);
    for resident in residents {
        fields.extend(container_fields(pod, resident, settings));
    }
    for name in pull_secrets(residents) {
        let mut found = spec.image_pull_secrets.iter().flatten();
        if !found.any(|secret| secret.name == name) {
            fields.push(format!("spec.imagePullSecrets[{name}]"));
        }
    }
    fields
}

fn container_fields(pod: &Pod, resident: &Resident<'_>, settings: &Settings) -> Vec<String> {
    let name = resident.name();
    let made_from = recorded(pod, RESOURCES_ANNOTATION, name);
    let given: Vec<String> = recorded(pod, ENVIRONMENT_ANNOTATION, name).unwrap_or_default();
    let mut fields = Vec::new();
    // Neither is compared.
    let (image, resources) = ("", None);
    for wanted in resident.containers(image, resources, settings) {
        let path = format!("spec.initContainers[{}]", wanted.name);
        let Some(found) = carried::container(pod, &wanted.name) else {
            fields.push(path);
            continue;
        };
        let mut differing = differences(found, &wanted);
        let removed = given.iter().filter(|name| {
            let mut variables = wanted.env.iter().flatten();
            !variables.any(|wanted| wanted.name == **name)
        });
        differing.extend(removed.map(|name| format!("env[{name}]")));
        if made_from.as_ref() != resident.sidecar.spec.resources.as_ref() {
            differing.push("resources".into());
        }
        fields.extend(differing.into_iter().map(|field| format!("{path}.{field}")));
    }
    fields
}

/// Containers of sidecars that the pod carries and would not have now, or not in that form.
fn removed_containers(pod: &Pod, residents: &[Resident<'_>]) -> Vec<String> {
    let wanted: BTreeSet<_> = residents
        .iter()
        .flat_map(Resident::container_names)
        .collect();
    let found = carried::orders(pod)
        .into_iter()
        .flat_map(|(sidecar, order)| match order {
            Ok(order) => carried::container_names(&order, &sidecar),
            Err(_) => carried::slot_names(&sidecar),
        });
    found
        .filter(|name| !wanted.contains(name))
        .map(|name| format!("spec.initContainers[{name}]"))
        .collect()
}

/// Addresses of functions that containers lack, have wrongly, or have no more use for.
fn variable_fields(spec: &PodSpec, plan: &ApplicationPlan) -> Vec<String> {
    let given = variables(spec, plan).into_iter();
    let wanted: BTreeMap<_, _> = given
        .map(|given| ((given.container, given.name), given.value))
        .collect();
    let mut found = BTreeMap::new();
    for (index, container) in spec.containers.iter().enumerate() {
        for variable in container.env.iter().flatten() {
            if let (true, Some(value)) = (is_given_name(&variable.name), &variable.value) {
                found.insert((index, variable.name.clone()), value.clone());
            }
        }
    }
    differing(&wanted, &found)
        .map(|(index, name)| format!("{}.env[{name}]", path(spec, *index)))
        .collect()
}

/// Directories of sockets that containers lack, have wrongly, or have no more use for.
fn mount_fields(spec: &PodSpec, plan: &ApplicationPlan) -> Vec<String> {
    let mut fields = Vec::new();
    let given = mounts(spec, plan);
    for given in &given {
        let mut found = spec.containers[given.container]
            .volume_mounts
            .iter()
            .flatten();
        if !found.any(|mount| is_same_mount(mount, &given.mount)) {
            fields.push((given.container, given.mount.mount_path.clone()));
        }
    }
    for (index, container) in spec.containers.iter().enumerate() {
        for mount in container.volume_mounts.iter().flatten() {
            let is_wanted = given.iter().any(|given| {
                given.container == index && given.mount.mount_path == mount.mount_path
            });
            if is_given_mount(mount) && !is_wanted {
                fields.push((index, mount.mount_path.clone()));
            }
        }
    }
    let named = fields.into_iter();
    named
        .map(|(index, mount)| format!("{}.volumeMounts[{mount}]", path(spec, index)))
        .collect()
}

/// The keys whose values are not the same in both maps.
fn differing<'a, K: Ord, V: PartialEq>(
    one: &'a BTreeMap<K, V>,
    other: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a K> {
    let changed = one
        .iter()
        .filter(|(key, value)| other.get(*key) != Some(*value));
    let added = other.iter().filter(|(key, _)| !one.contains_key(*key));
    changed.chain(added).map(|(key, _)| key)
}

fn path(spec: &PodSpec, container: usize) -> String {
    format!("spec.containers[{}]", spec.containers[container].name)
}
