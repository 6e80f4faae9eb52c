use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvVar, EnvVarSource, SecretKeySelector, SecurityContext,
};
use outrigger_api::{ForeignContainer, ForeignVariable};
use outrigger_control::layout;

use crate::Settings;
use crate::slot::{mount, restricted};
use crate::volumes::NO_TOKEN_VOLUME;

/// What is said of the only container of an image that is not built on the chassis.
pub(crate) fn foreign_container(
    name: &str,
    foreign: &ForeignContainer,
    settings: &Settings,
) -> Container {
    let ports = foreign.ports.as_ref().map(|ports| {
        let ports = ports.iter().map(|port| ContainerPort {
            container_port: port.port,
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        });
        ports.collect()
    });
    let env = foreign.env.as_ref();
    let read_only = !foreign.writable_root_filesystem.unwrap_or(false);
    Container {
        name: name.to_owned(),
        command: foreign.command.clone(),
        args: foreign.args.clone(),
        env: env.map(|env| env.iter().map(variable).collect()),
        ports,
        security_context: Some(SecurityContext {
            read_only_root_filesystem: Some(read_only),
            ..restricted(settings)
        }),
        volume_mounts: Some(vec![mount(
            NO_TOKEN_VOLUME,
            layout::SERVICE_ACCOUNT_DIR,
            true,
        )]),
        ..Container::default()
    }
}

fn variable(wanted: &ForeignVariable) -> EnvVar {
    EnvVar {
        name: wanted.name.clone(),
        // The API server keeps no empty value.
        value: wanted.value.clone().filter(|value| !value.is_empty()),
        value_from: wanted.secret_key_ref.as_ref().map(|key| EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: key.name.clone(),
                key: key.key.clone(),
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
    }
}
