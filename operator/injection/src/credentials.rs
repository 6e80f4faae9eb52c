//! The two credentials of a sidecar: files that its own containers alone can read.

use k8s_openapi::api::core::v1::{
    ProjectedVolumeSource, SecretVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};
use outrigger_api::{Credential, IntegrationSidecar};
use outrigger_control::{content_hash, layout};

use crate::slot::mount;
use crate::volumes::READ_ONLY;

const VOLUME_PREFIX: &str = "outrigger-credential-";

/// The credentials of a sidecar, with the folder of each.
fn credentials(
    sidecar: &IntegrationSidecar,
) -> impl Iterator<Item = (&'static str, &Credential)> + Clone {
    let both = sidecar.spec.credentials.iter();
    both.flat_map(|both| {
        [
            (layout::APPLICATION_CREDENTIAL, &both.application),
            (layout::SYSTEM_CREDENTIAL, &both.system),
        ]
    })
    .filter_map(|(folder, credential)| Some((folder, credential.as_ref()?)))
}

/// The volumes of a sidecar's credentials.
pub(crate) fn credential_volumes(
    sidecar: &IntegrationSidecar,
) -> impl Iterator<Item = Volume> + use<'_> {
    credentials(sidecar).map(|(_, credential)| volume(credential))
}

/// The mounts of a sidecar's credentials, for its own containers.
pub(crate) fn credential_mounts(
    sidecar: &IntegrationSidecar,
) -> impl Iterator<Item = VolumeMount> + use<'_> {
    credentials(sidecar).map(|(folder, credential)| {
        let path = format!("{}/{folder}", layout::CREDENTIALS_DIR);
        mount(&volume_name(credential), &path, true)
    })
}

/// Whether a volume has a name that the volume of a credential gets.
pub(crate) fn is_credential_volume(name: &str) -> bool {
    name.starts_with(VOLUME_PREFIX)
}

/// By what it holds, so that another Secret or token shows in the mounts of a running pod.
fn volume_name(credential: &Credential) -> String {
    // It was read from JSON.
    let hash = content_hash(&credential.effective()).unwrap_or_default();
    format!("{VOLUME_PREFIX}{hash}")
}

fn volume(credential: &Credential) -> Volume {
    let secret = credential.secret_name.as_ref();
    let token = credential.service_account_token.as_ref();
    Volume {
        name: volume_name(credential),
        secret: secret.map(|name| SecretVolumeSource {
            secret_name: Some(name.clone()),
            default_mode: Some(READ_ONLY),
            // A Secret that is missing keeps the slots waiting, and not the application.
            optional: Some(true),
            ..SecretVolumeSource::default()
        }),
        projected: token.map(|token| ProjectedVolumeSource {
            default_mode: Some(READ_ONLY),
            sources: Some(vec![VolumeProjection {
                service_account_token: Some(ServiceAccountTokenProjection {
                    audience: Some(token.audience.clone()),
                    expiration_seconds: Some(token.effective_expiration_seconds()),
                    path: layout::TOKEN_FILE.into(),
                }),
                ..VolumeProjection::default()
            }]),
        }),
        ..Volume::default()
    }
}
