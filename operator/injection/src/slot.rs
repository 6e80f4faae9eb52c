use k8s_openapi::api::core::v1::{
    Capabilities, Container, ContainerPort, EnvVar, EnvVarSource, ObjectFieldSelector,
    ResourceRequirements, SeccompProfile, SecurityContext, VolumeMount,
};
use outrigger_control::{Application, Slot, layout};
use outrigger_plan::SidecarPlan;

use crate::Settings;
use crate::volumes::{NO_TOKEN_VOLUME, secret_volume};

/// Environment: name of the pod, from which [`layout::ENV_POD`] is made.
const ENV_POD_NAME: &str = "OUTRIGGER_POD_NAME";

/// The container of a slot: a native sidecar without probes, since a probe of a slot that is being
/// replaced would take the whole pod out of its Services.
pub fn slot_container(
    application: &Application,
    sidecar: &SidecarPlan,
    slot: Slot,
    image: &str,
    resources: Option<ResourceRequirements>,
    settings: &Settings,
) -> Container {
    let admin = *sidecar.admin.of(slot);
    let mut mounts = document_mounts(sidecar);
    mounts.push(mount(
        &layout::shared_volume(sidecar.name()),
        layout::SHARED_DIR,
        false,
    ));
    mounts.push(mount(NO_TOKEN_VOLUME, layout::SERVICE_ACCOUNT_DIR, true));
    let mut env = common_env(application, sidecar);
    env.extend([
        variable(layout::ENV_SLOT, slot.as_str()),
        variable(layout::ENV_ADMIN_PORT, &admin.to_string()),
    ]);
    Container {
        name: slot.container(sidecar.name()),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(vec![layout::SLOT_COMMAND.into()]),
        env: Some(env),
        ports: Some(vec![ContainerPort {
            container_port: i32::from(admin),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        resources,
        restart_policy: Some("Always".into()),
        security_context: Some(restricted(settings)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(mounts),
        ..Container::default()
    }
}

/// The environment that slots and preflights share.
pub(crate) fn common_env(application: &Application, sidecar: &SidecarPlan) -> Vec<EnvVar> {
    let listen: Vec<_> = sidecar
        .functions
        .iter()
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
            &format!("{}/$({ENV_POD_NAME})", application.namespace),
        ),
        variable(layout::ENV_SIDECAR, sidecar.name()),
        variable(layout::ENV_LISTEN, &listen.join(",")),
    ]
}

/// The mounts that slots and preflights share.
pub(crate) fn document_mounts(sidecar: &SidecarPlan) -> Vec<VolumeMount> {
    let control = layout::control_volume(sidecar.name());
    let secrets = sidecar.secrets.iter().map(|secret| {
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

fn mount(volume: &str, path: &str, read_only: bool) -> VolumeMount {
    VolumeMount {
        name: volume.to_owned(),
        mount_path: path.to_owned(),
        read_only: read_only.then_some(true),
        ..VolumeMount::default()
    }
}
