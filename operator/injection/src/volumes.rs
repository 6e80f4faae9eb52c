use k8s_openapi::api::core::v1::{
    ConfigMapProjection, DownwardAPIProjection, DownwardAPIVolumeFile, EmptyDirVolumeSource,
    ObjectFieldSelector, ProjectedVolumeSource, SecretVolumeSource, Volume, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use outrigger_control::{Application, content_hash, layout};
use outrigger_plan::{ApplicationPlan, SidecarPlan};

/// Name of the empty volume that covers the service-account path, so that the admission plugin does
/// not mount the application's token into slots.
pub(crate) const NO_TOKEN_VOLUME: &str = "outrigger-no-token";
/// Room for sockets, locks and the recorded state. A pod that exceeds it is evicted, so it is far
/// more than is ever used.
const SHARED_SIZE: &str = "64Mi";
/// Readable for the slots' user, whoever owns the file.
pub(crate) const READ_ONLY: i32 = 0o444;

/// The volumes of all slots of a pod, each once.
pub(crate) fn volumes(plan: &ApplicationPlan) -> Vec<Volume> {
    let mut volumes = Vec::new();
    for sidecar in &plan.sidecars {
        volumes.push(control_volume(&plan.application, sidecar, true));
        volumes.push(shared_volume(sidecar));
        volumes.extend(secret_volumes(sidecar));
    }
    if !volumes.is_empty() {
        volumes.push(no_token_volume());
    }
    let mut seen = std::collections::BTreeSet::new();
    volumes.retain(|volume| seen.insert(volume.name.clone()));
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

/// The documents and, for slots, the order.
pub(crate) fn control_volume(
    application: &Application,
    sidecar: &SidecarPlan,
    with_order: bool,
) -> Volume {
    let documents = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: layout::config_map_name(&application.name, sidecar.name()),
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let order = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![DownwardAPIVolumeFile {
                path: layout::ORDER_FILE.into(),
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".into()),
                    field_path: format!(
                        "metadata.annotations['{}']",
                        layout::order_annotation(sidecar.name())
                    ),
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
        }),
        ..VolumeProjection::default()
    };
    let mut sources = vec![documents];
    sources.extend(with_order.then_some(order));
    Volume {
        name: layout::control_volume(sidecar.name()),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(READ_ONLY),
            sources: Some(sources),
        }),
        ..Volume::default()
    }
}

/// The directory that both slots of a sidecar share.
pub(crate) fn shared_volume(sidecar: &SidecarPlan) -> Volume {
    Volume {
        name: layout::shared_volume(sidecar.name()),
        empty_dir: Some(EmptyDirVolumeSource {
            size_limit: Some(Quantity(SHARED_SIZE.into())),
            ..EmptyDirVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The Secrets of a sidecar.
pub(crate) fn secret_volumes(sidecar: &SidecarPlan) -> impl Iterator<Item = Volume> {
    sidecar.secrets.iter().map(|secret| Volume {
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
    format!("outrigger-secret-{hash}")
}
