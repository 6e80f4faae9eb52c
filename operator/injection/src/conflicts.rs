//! Reasons why a pod cannot have an application's sidecars.

use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use outrigger_control::{Slot, layout};
use outrigger_plan::{ApplicationPlan, FunctionPlan, SidecarPlan};

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
    if plan.sidecars.is_empty() {
        return Ok(());
    }
    refuse_foreign_platforms(pod, spec, plan)?;
    for sidecar in &plan.sidecars {
        refuse_container_names(pod, spec, sidecar)?;
        refuse_unknown_containers(spec, plan, sidecar)?;
    }
    let init = spec.init_containers.iter().flatten();
    let own = init.filter(|container| !is_slot(pod, plan, container));
    for container in own.chain(&spec.containers) {
        refuse_ports(pod, container, plan)?;
    }
    Ok(())
}

/// Whether a container of the pod is a slot of the plan that was injected before.
pub(crate) fn is_slot(pod: &Pod, plan: &ApplicationPlan, container: &Container) -> bool {
    plan.sidecars.iter().any(|sidecar| {
        let name = |slot: Slot| slot.container(sidecar.name()) == container.name;
        Slot::BOTH.into_iter().any(name) && carried::carries(pod, sidecar.name())
    })
}

/// The containers that get the addresses of a sidecar's functions, with their positions.
pub(crate) fn primaries<'a>(
    spec: &'a PodSpec,
    sidecar: &'a SidecarPlan,
) -> impl Iterator<Item = (usize, &'a Container)> {
    spec.containers.iter().enumerate().filter(|(_, container)| {
        let chosen = sidecar.containers.as_ref();
        chosen.is_none_or(|names| names.contains(&container.name))
    })
}

fn refuse_foreign_platforms(
    pod: &Pod,
    spec: &PodSpec,
    plan: &ApplicationPlan,
) -> Result<(), Refusal> {
    let application = || plan.application.name.clone();
    if spec.host_network == Some(true) {
        return Err(Refusal::HostNetwork {
            pod: display_name(pod),
            application: application(),
        });
    }
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
                application: application(),
            });
        }
    }
    Ok(())
}

fn refuse_container_names(pod: &Pod, spec: &PodSpec, sidecar: &SidecarPlan) -> Result<(), Refusal> {
    let injected = carried::carries(pod, sidecar.name());
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
        let clashes = Slot::BOTH
            .into_iter()
            .any(|slot| slot.container(sidecar.name()) == *name);
        if clashes && !(injected && field == INIT_CONTAINERS) {
            return Err(Refusal::ContainerName {
                pod: display_name(pod),
                field,
                name: name.clone(),
                sidecar: sidecar.name().to_owned(),
            });
        }
    }
    Ok(())
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
    let mut chosen = sidecar.containers.iter().flatten();
    match chosen.find(|name| !names.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(Refusal::NoSuchContainer {
            application: plan.application.name.clone(),
            sidecar: sidecar.name().to_owned(),
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
            let mut functions = sidecar.functions.iter();
            if let Some(FunctionPlan { name, .. }) = functions.find(|found| found.port == port) {
                return Err(Refusal::FunctionPort {
                    pod: display_name(pod),
                    container: container.name.clone(),
                    port,
                    function: name.clone(),
                    sidecar: sidecar.name().to_owned(),
                });
            }
            let mut slots = Slot::BOTH.into_iter();
            if let Some(slot) = slots.find(|slot| *sidecar.admin.of(*slot) == port) {
                let ports = plan.sidecars.iter().map(|sidecar| sidecar.admin.b);
                return Err(Refusal::AdminPort {
                    pod: display_name(pod),
                    container: container.name.clone(),
                    port,
                    slot: slot.container(sidecar.name()),
                    first: layout::FIRST_ADMIN_PORT,
                    last: ports.max().unwrap_or(port),
                });
            }
        }
    }
    Ok(())
}
