//! What the application's own containers are given: addresses of functions, and their sockets.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Container, PodSpec, VolumeMount};
use outrigger_control::layout;
use outrigger_plan::{ApplicationPlan, Form, SidecarPlan};

use crate::slot::mount;

/// An environment variable of a container of the application.
pub(crate) struct GivenVariable {
    /// Position of the container.
    pub(crate) container: usize,
    pub(crate) name: String,
    pub(crate) value: String,
    /// The function that it is about.
    pub(crate) function: String,
}

/// A directory of sockets in a container of the application.
pub(crate) struct GivenMount {
    /// Position of the container.
    pub(crate) container: usize,
    pub(crate) mount: VolumeMount,
    /// The sidecar whose sockets they are.
    pub(crate) sidecar: String,
}

/// The variables of all containers, in the order of the plan.
pub(crate) fn variables(spec: &PodSpec, plan: &ApplicationPlan) -> Vec<GivenVariable> {
    let mut variables = Vec::new();
    for sidecar in &plan.sidecars {
        for function in &sidecar.functions {
            let mut give = |container, name, value| {
                variables.push(GivenVariable {
                    container,
                    name,
                    value,
                    function: function.name.clone(),
                });
            };
            for container in chosen(spec, sidecar.containers.as_ref()) {
                let name = layout::function_url_variable(&function.name);
                give(container, name, sidecar.address(function));
            }
            for container in with_sockets(spec, sidecar) {
                let name = layout::function_socket_variable(&function.name);
                let file = layout::socket_file(&function.name);
                give(container, name, format!("{}/{file}", directory(sidecar)));
            }
        }
    }
    variables
}

/// The mounts of all containers, in the order of the plan.
pub(crate) fn mounts(spec: &PodSpec, plan: &ApplicationPlan) -> Vec<GivenMount> {
    let sidecars = plan.sidecars.iter();
    sidecars
        .flat_map(|sidecar| {
            let volume = layout::sockets_volume(sidecar.name());
            let mount = mount(&volume, &directory(sidecar), true);
            with_sockets(spec, sidecar).map(move |container| GivenMount {
                container,
                mount: mount.clone(),
                sidecar: sidecar.name().to_owned(),
            })
        })
        .collect()
}

/// Whether a variable has a name that injection gives.
pub(crate) fn is_given_name(name: &str) -> bool {
    name.strip_prefix("OUTRIGGER_")
        .is_some_and(|rest| rest.ends_with("_URL") || rest.ends_with("_SOCKET"))
}

/// Whether a container's mount is a directory of sockets.
pub(crate) fn is_given_mount(mount: &VolumeMount) -> bool {
    let rest = mount.mount_path.strip_prefix(layout::SOCKETS_DIR);
    rest.is_some_and(|rest| rest.starts_with('/'))
}

/// The names of containers that a sidecar's use speaks of, with the field that does.
pub(crate) fn named_containers(
    sidecar: &SidecarPlan,
) -> impl Iterator<Item = (&'static str, &String)> {
    let chosen = sidecar.containers.iter().flatten();
    let sockets = socket_containers(sidecar).into_iter().flatten();
    chosen
        .map(|name| ("containers", name))
        .chain(sockets.map(|name| ("unixSocket.mountInto", name)))
}

/// Where the sockets of a sidecar are in containers of the application.
fn directory(sidecar: &SidecarPlan) -> String {
    format!("{}/{}", layout::SOCKETS_DIR, sidecar.name())
}

fn with_sockets<'a>(
    spec: &'a PodSpec,
    sidecar: &'a SidecarPlan,
) -> impl Iterator<Item = usize> + 'a {
    let positions = socket_containers(sidecar).map(|names| chosen(spec, Some(names)));
    positions.into_iter().flatten()
}

fn socket_containers(sidecar: &SidecarPlan) -> Option<&BTreeSet<String>> {
    match &sidecar.form {
        Form::Slots(slots) => Some(&slots.socket_containers),
        Form::Shared { .. } | Form::Foreign(_) => None,
    }
}

/// Positions of the containers with one of the names; of all without names.
fn chosen<'a>(
    spec: &'a PodSpec,
    names: Option<&'a BTreeSet<String>>,
) -> impl Iterator<Item = usize> + 'a {
    let is_chosen =
        move |container: &Container| names.is_none_or(|names| names.contains(&container.name));
    let containers = spec.containers.iter().enumerate();
    containers
        .filter(move |(_, container)| is_chosen(container))
        .map(|(index, _)| index)
}
