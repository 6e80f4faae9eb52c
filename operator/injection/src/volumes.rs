use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
    ObjectFieldSelector, ProjectedVolumeSource, SecretVolumeSource, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use outrigger_control::{content_hash, layout};

use crate::resident::{Host, Slots};

/// Name of the empty volume that covers the service-account path, so that the admission plugin does
/// not mount the application's token into our containers.
pub(crate) const NO_TOKEN_VOLUME: &str = "outrigger-no-token";
/// Room for sockets, locks and the recorded state. A pod that exceeds it is evicted, so it is far
/// more than is ever used.
const SHARED_SIZE: &str = "64Mi";
/// Room for Unix sockets, which take none.
const SOCKETS_SIZE: &str = "1Mi";
/// Readable for the slots' user, whoever owns the file.
pub(crate) const READ_ONLY: i32 = 0o444;
const SECRET_PREFIX: &str = "outrigger-secret-";

/// The volumes of a sidecar's slots, but for [`no_token_volume`] and those of credentials.
pub(crate) fn slot_volumes(sidecar: &str, slots: &Slots<'_>) -> Vec<Volume> {
    let mut volumes = vec![
        control_volume(sidecar, slots, &files(sidecar, slots)),
        empty_volume(layout::shared_volume(sidecar), SHARED_SIZE),
    ];
    if matches!(slots.host, Host::Application { has_sockets, .. } if has_sockets) {
        let name = layout::sockets_volume(sidecar);
        volumes.push(empty_volume(name, SOCKETS_SIZE));
    }
    volumes.extend(secret_volumes(slots));
    volumes
}

/// See [`NO_TOKEN_VOLUME`].
pub(crate) fn no_token_volume() -> Volume {
    Volume {
        name: NO_TOKEN_VOLUME.into(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    }
}

/// The files that are annotations of the pod, with the annotation of each.
fn files(sidecar: &str, slots: &Slots<'_>) -> Vec<(&'static str, String)> {
    let order = (layout::ORDER_FILE, layout::order_annotation(sidecar));
    match slots.host {
        Host::Application { .. } => vec![order],
        Host::FunctionPod => {
            let tenants = (layout::TENANTS_FILE, layout::tenants_annotation(sidecar));
            vec![order, tenants]
        }
    }
}

/// The documents and, in slots, the files that are annotations of the pod.
pub(crate) fn control_volume(sidecar: &str, slots: &Slots<'_>, files: &[(&str, String)]) -> Volume {
    let documents = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: match slots.host {
                Host::Application { name, .. } => layout::config_map_name(name, sidecar),
                Host::FunctionPod => layout::shared_config_map_name(sidecar),
            },
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let items: Vec<_> = files
        .iter()
        .map(|(path, annotation)| DownwardAPIVolumeFile {
            path: (*path).to_owned(),
            field_ref: Some(ObjectFieldSelector {
                api_version: Some("v1".into()),
                field_path: format!("metadata.annotations['{annotation}']"),
            }),
            ..DownwardAPIVolumeFile::default()
        })
        .collect();
    let mut sources = vec![documents];
    if !items.is_empty() {
        sources.push(VolumeProjection {
            downward_api: Some(DownwardAPIProjection { items: Some(items) }),
            ..VolumeProjection::default()
        });
    }
    Volume {
        name: layout::control_volume(sidecar),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(READ_ONLY),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

pub(crate) fn empty_volume(name: String, size: &str) -> Volume {
    Volume {
        name,
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(size.into())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The Secrets of a sidecar.
pub(crate) fn secret_volumes(slots: &Slots<'_>) -> impl Iterator<Item = Volume> {
    slots.secrets.iter().map(|secret| Volume {
        name: secret_volume(secret),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret.clone()),
            default_mode: Some(READ_ONLY),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    })
}

/// Name of a Secret's volume. Names of Secrets are longer than those of volumes may be, and hold dots.
pub(crate) fn secret_volume(secret: &str) -> String {
    // A string always has a JSON form.
    let hash = content_hash(&secret).unwrap_or_default();
    format!("{SECRET_PREFIX}{hash}")
}

/// Whether a volume has a name that [`secret_volume`] gives.
pub(crate) fn is_secret_volume(name: &str) -> bool {
    name.starts_with(SECRET_PREFIX)
}
