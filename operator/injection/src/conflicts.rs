//! Reasons why a pod cannot have an application's sidecars.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use outrigger_control::{Slot, layout};
use outrigger_plan::{ApplicationPlan, Form, SidecarPlan};

use crate::credentials::credential_volumes;
use crate::given::named_containers;
use crate::resident::Resident;
use crate::{Refusal, carried};

const INIT_CONTAINERS: &str = "spec.initContainers";

/// What a pod's creator calls it: its name, or `PREFIX*` while the API server has yet to name it.
pub(crate) fn display_name(pod: &Pod) -> String {
    let meta = &pod.metadata;
    match (&meta.name, &meta.generate_name) {
        (Some(name), _) => name.clone(),
        (None, Some(prefix)) => format!("{prefix}*"),
        (None, None) => "(unnamed)".into(),
    }
}

/// Refuses a pod that cannot have the sidecars of the plan.
pub(crate) fn refuse_conflicts(
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let residents = Resident::all(plan);
    refuse_host_network(pod, spec, plan)?;
    if !residents.is_empty() {
        refuse_windows(pod, spec, plan)?;
    }
    let ours = our_containers(pod);
    for resident in &residents {
        refuse_container_names(pod, spec, resident, &ours)?;
        refuse_shared_processes(pod, spec, resident)?;
    }
    for sidecar in &plan.sidecars {
        refuse_unknown_containers(spec, plan, sidecar)?;
    }
    let init = spec.init_containers.iter().flatten();
    let own = init.filter(|container| !ours.contains(&container.name));
    for container in own.chain(&spec.containers) {
        refuse_ports(pod, container, plan)?;
        for resident in &residents {
            refuse_credential_mounts(pod, container, resident)?;
        }
    }
    Ok(())
}

/// Names of the init containers that an earlier injection gave to the pod.
pub(crate) fn our_containers(pod: &Pod) -> BTreeSet<String> {
    let residents = carried::residents(pod).into_iter();
    residents
        .flat_map(|(sidecar, order)| carried::container_names(&order, &sidecar))
        .collect()
}

/// A sidecar in the pod would listen on the node's ports, and a shared one tells applications apart
/// by the addresses of their pods.
fn refuse_host_network(pod: &Pod, spec: &PodSpec, plan: &ApplicationPlan) -> Result<(), Refusal> {
    if spec.host_network != Some(true) {
        return Ok(());
    }
    let is_shared = |sidecar: &&SidecarPlan| matches!(sidecar.form, Form::Shared { .. });
    let mut sidecars = plan.sidecars.iter();
    if sidecars.clone().any(|sidecar| !is_shared(&sidecar)) {
        return Err(Refusal::HostNetwork {
            pod: display_name(pod),
            application: plan.application.name.clone(),
        });
    }
    match sidecars.find(is_shared) {
        None => Ok(()),
        Some(sidecar) => Err(Refusal::NodeAddress {
            pod: display_name(pod),
            sidecar: sidecar.name().to_owned(),
        }),
    }
}

fn refuse_windows(pod: &Pod, spec: &PodSpec, plan: &ApplicationPlan) -> Result<(), Refusal> {
    let by_selector = spec
        .node_selector
        .as_ref()
        .and_then(|selector| selector.get("kubernetes.io/os"));
    let by_os = spec.os.as_ref().map(|os| &os.name);
    for (field, os) in [
        ("spec.os.name", by_os),
        ("spec.nodeSelector[kubernetes.io/os]", by_selector),
    ] {
        if os.is_some_and(|os| os == "windows") {
            return Err(Refusal::Windows {
                pod: display_name(pod),
                field,
                application: plan.application.name.clone(),
            });
        }
    }
    Ok(())
}

fn refuse_container_names(
    pod: &Pod,
    spec: &PodSpec,
    resident: &Resident<'_>,
    ours: &BTreeSet<String>,
) -> Result<(), Refusal> {
    let names = resident.container_names();
    let containers = spec
        .containers
        .iter()
        .map(|container| ("spec.containers", &container.name));
    let init = spec
        .init_containers
        .iter()
        .flatten()
        .map(|container| (INIT_CONTAINERS, &container.name));
    for (field, name) in containers.chain(init) {
        let is_ours = field == INIT_CONTAINERS && ours.contains(name);
        if names.contains(name) && !is_ours {
            return Err(Refusal::ContainerName {
                pod: display_name(pod),
                field,
                name: name.clone(),
                sidecar: resident.name().to_owned(),
                containers: names.join(" and "),
            });
        }
    }
    Ok(())
}

/// A process of the slots' user, or one that may trace others, reads the files of every process
/// that it sees.
fn refuse_shared_processes(
    pod: &Pod,
    spec: &PodSpec,
    resident: &Resident<'_>,
) -> Result<(), Refusal> {
    let fields = [
        (
            "spec.shareProcessNamespace",
            spec.share_process_namespace == Some(true),
        ),
        ("spec.hostPID", spec.host_pid == Some(true)),
    ];
    let is_shared = fields.into_iter().find(|(_, is_shared)| *is_shared);
    match (is_shared, &resident.sidecar.spec.credentials) {
        (Some((field, _)), Some(_)) => Err(Refusal::SharedProcesses {
            pod: display_name(pod),
            field,
            sidecar: resident.name().to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The volume would be there by the time that the pod is checked.
fn refuse_credential_mounts(
    pod: &Pod,
    container: &Container,
    resident: &Resident<'_>,
) -> Result<(), Refusal> {
    let mut volumes = credential_volumes(resident.sidecar);
    let mounts = || container.volume_mounts.iter().flatten();
    match volumes.find(|volume| mounts().any(|mount| mount.name == volume.name)) {
        None => Ok(()),
        Some(volume) => Err(Refusal::CredentialMount {
            pod: display_name(pod),
            container: container.name.clone(),
            volume: volume.name,
            sidecar: resident.name().to_owned(),
        }),
    }
}

fn refuse_unknown_containers(
    spec: &PodSpec,
    plan: &ApplicationPlan,
    sidecar: &SidecarPlan,
) -> Result<(), Refusal> {
    let names: Vec<_> = spec
        .containers
        .iter()
        .map(|container| container.name.as_str())
        .collect();
    let mut named = named_containers(sidecar);
    match named.find(|(_, name)| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some((field, name)) => Err(Refusal::NoSuchContainer {
            application: plan.application.name.clone(),
            sidecar: sidecar.name().to_owned(),
            field,
            name: name.clone(),
            allowed: names.join(", "),
        }),
    }
}

fn refuse_ports(pod: &Pod, container: &Container, plan: &ApplicationPlan) -> Result<(), Refusal> {
    let tcp = container.ports.iter().flatten().filter(|port| {
        let protocol = port.protocol.as_deref();
        protocol.is_none_or(|protocol| protocol == "TCP")
    });
    for port in tcp {
        let Ok(port) = u16::try_from(port.container_port) else {
            continue;
        };
        for sidecar in &plan.sidecars {
            refuse_function_port(pod, container, port, sidecar)?;
            refuse_admin_port(pod, container, port, sidecar, plan)?;
        }
    }
    Ok(())
}

fn refuse_function_port(
    pod: &Pod,
    container: &Container,
    port: u16,
    sidecar: &SidecarPlan,
) -> Result<(), Refusal> {
    let (kind, field) = match sidecar.form {
        Form::Slots(_) => ("function", "functions[].port"),
        Form::Foreign(_) => ("port", "container.ports[].port"),
        // It listens elsewhere.
        Form::Shared { .. } => return Ok(()),
    };
    let mut functions = sidecar.functions.iter();
    match functions.find(|function| function.port == port) {
        None => Ok(()),
        Some(function) => Err(Refusal::FunctionPort {
            pod: display_name(pod),
            container: container.name.clone(),
            port,
            user: format!("{kind} {}", function.name),
            sidecar: sidecar.name().to_owned(),
            field,
        }),
    }
}

fn refuse_admin_port(
    pod: &Pod,
    container: &Container,
    port: u16,
    sidecar: &SidecarPlan,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let Form::Slots(slots) = &sidecar.form else {
        return Ok(());
    };
    let last = plan
        .sidecars
        .iter()
        .filter_map(|sidecar| match &sidecar.form {
            Form::Slots(slots) => Some(slots.admin.b),
            Form::Shared { .. } | Form::Foreign(_) => None,
        });
    let mut both = Slot::BOTH.into_iter();
    match both.find(|slot| *slots.admin.of(*slot) == port) {
        None => Ok(()),
        Some(slot) => Err(Refusal::AdminPort {
            pod: display_name(pod),
            container: container.name.clone(),
            port,
            slot: slot.container(sidecar.name()),
            first: layout::FIRST_ADMIN_PORT,
            last: last.max().unwrap_or(port),
        }),
    }
}
