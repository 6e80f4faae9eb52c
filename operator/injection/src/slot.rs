use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector,
    SeccompProfile, SecurityContext, VolumeMount,
};
use outrigger_control::{Slot, layout};

use crate::Settings;
use crate::resident::{Host, Resident, Slots};
use crate::volumes::{NO_TOKEN_VOLUME, secret_volume};

/// Environment: name of the pod, from which [`layout::ENV_POD`] is made.
const ENV_POD_NAME: &str = "OUTRIGGER_POD_NAME";
/// Every address of a function pod, IPv4 and IPv6.
const ANY_ADDRESS: &str = "::";

/// What is said of the container of a slot.
pub(crate) fn slot_container(
    resident: &Resident<'_>,
    slots: &Slots<'_>,
    slot: Slot,
    settings: &Settings,
) -> Container {
    let name = resident.name();
    let admin = *slots.admin.of(slot);
    let mut mounts = document_mounts(name, slots);
    mounts.push(mount(
        &layout::shared_volume(name),
        layout::SHARED_DIR,
        false,
    ));
    mounts.push(mount(NO_TOKEN_VOLUME, layout::SERVICE_ACCOUNT_DIR, true));
    let mut env = common_env(resident, slots);
    env.extend([
        variable(layout::ENV_SLOT, slot.as_str()),
        variable(layout::ENV_ADMIN_PORT, &admin.to_string()),
    ]);
    match slots.host {
        Host::FunctionPod => env.push(variable(layout::ENV_BIND, ANY_ADDRESS)),
        Host::Application { has_sockets, .. } if has_sockets => {
            let volume = layout::sockets_volume(name);
            mounts.push(mount(&volume, layout::SOCKETS_DIR, false));
            env.push(variable(layout::ENV_SOCKETS, layout::SOCKETS_DIR));
        }
        Host::Application { .. } => {}
    }
    Container {
        name: slot.container(name),
        args: Some(vec![layout::SLOT_COMMAND.into()]),
        env: Some(env),
        ports: Some(vec![ContainerPort {
            container_port: i32::from(admin),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        security_context: Some(restricted(settings)),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The environment that slots and preflights share.
pub(crate) fn common_env(resident: &Resident<'_>, slots: &Slots<'_>) -> Vec<EnvVar> {
    let functions = slots.functions.iter();
    let listen: Vec<_> = functions
        .map(|function| format!("{}={}", function.name, function.port))
        .collect();
    vec![
        EnvVar {
            name: ENV_POD_NAME.into(),
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".into()),
                    field_path: "metadata.name".into(),
                }),
                ..EnvVarSource::default()
            }),
            ..EnvVar::default()
        },
        variable(
            layout::ENV_POD,
            &format!("{}/$({ENV_POD_NAME})", resident.namespace),
        ),
        variable(layout::ENV_SIDECAR, resident.name()),
        variable(layout::ENV_LISTEN, &listen.join(",")),
    ]
}

/// The mounts that slots and preflights share.
pub(crate) fn document_mounts(sidecar: &str, slots: &Slots<'_>) -> Vec<VolumeMount> {
    let control = layout::control_volume(sidecar);
    let secrets = slots.secrets.iter().map(|secret| {
        let path = format!("{}/{secret}", layout::SECRETS_DIR);
        mount(&secret_volume(secret), &path, true)
    });
    std::iter::once(mount(&control, layout::CONTROL_DIR, true))
        .chain(secrets)
        .collect()
}

/// What the Pod Security Standard `restricted` asks of a container, and a user of our own.
pub(crate) fn restricted(settings: &Settings) -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities {
            drop: Some(vec!["ALL".into()]),
            ..Capabilities::default()
        }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        run_as_user: Some(settings.slot_user),
        run_as_group: Some(settings.slot_group),
        seccomp_profile: Some(SeccompProfile {
            type_: "RuntimeDefault".into(),
            ..SeccompProfile::default()
        }),
        ..SecurityContext::default()
    }
}

pub(crate) fn variable(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        ..EnvVar::default()
    }
}

pub(crate) fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
