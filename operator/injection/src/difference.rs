use k8s_openapi::api::core::v1::{Container, VolumeMount};
use outrigger_control::layout;

/// Names of the fields of a container of ours that are not as wanted.
///
/// It may have more than was wanted, such as the variables and mounts of other webhooks, and
/// another image, pull policy or resources: policy engines and limit ranges change those.
pub(crate) fn differences(found: &Container, wanted: &Container) -> Vec<String> {
    let mut fields = Vec::new();
    let mut differs = |field: &str, equal: bool| {
        if !equal {
            fields.push(field.to_owned());
        }
    };
    differs("command", found.command == wanted.command);
    differs("args", found.args == wanted.args);
    differs(
        "restartPolicy",
        found.restart_policy == wanted.restart_policy,
    );
    let security = |container: &Container| {
        let context = container.security_context.as_ref();
        context.map(|context| {
            let read_only = context.read_only_root_filesystem.unwrap_or(false);
            (context.run_as_user, context.run_as_group, read_only)
        })
    };
    differs("securityContext", security(found) == security(wanted));
    for port in wanted.ports.iter().flatten() {
        let number = port.container_port;
        let same = found.ports.iter().flatten();
        differs(
            &format!("ports[{number}]"),
            same.into_iter().any(|other| other.container_port == number),
        );
    }
    for port in found.ports.iter().flatten() {
        let number = port.container_port;
        let mut of_ours = wanted.ports.iter().flatten();
        differs(
            &format!("ports[{number}]"),
            of_ours.any(|wanted| wanted.container_port == number),
        );
    }
    for variable in wanted.env.iter().flatten() {
        differs(
            &format!("env[{}]", variable.name),
            found.env.iter().flatten().any(|other| other == variable),
        );
    }
    for mount in wanted.volume_mounts.iter().flatten() {
        let mut mounts = found.volume_mounts.iter().flatten();
        let same = mounts.any(|other| is_same_mount(other, mount));
        differs(&format!("volumeMounts[{}]", mount.mount_path), same);
    }
    for mount in found.volume_mounts.iter().flatten() {
        let is_ours = mount.mount_path.starts_with(layout::SECRETS_DIR)
            || mount.mount_path.starts_with(layout::CREDENTIALS_DIR)
            || mount.mount_path == layout::SOCKETS_DIR;
        let mut wanted = wanted.volume_mounts.iter().flatten();
        differs(
            &format!("volumeMounts[{}]", mount.mount_path),
            !is_ours || wanted.any(|wanted| wanted.mount_path == mount.mount_path),
        );
    }
    fields
}

/// Whether two mounts put the same volume to the same place, with the same access.
pub(crate) fn is_same_mount(one: &VolumeMount, other: &VolumeMount) -> bool {
    one.mount_path == other.mount_path
        && one.name == other.name
        && one.read_only.unwrap_or(false) == other.read_only.unwrap_or(false)
}
