use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt};
use outrigger_api::{FIELD_MANAGER, IntegratedApp};

use super::documents::ConfigMaps;

/// A ConfigMap could not be written or deleted.
#[derive(Debug, thiserror::Error)]
#[error("ConfigMap {namespace}/{name} cannot be {action}: {error}")]
pub(super) struct ApplyError {
    namespace: String,
    name: String,
    action: &'static str,
    pub(super) error: kube::Error,
}

/// Writes and deletes ConfigMaps.
pub(super) async fn apply(
    client: &Client,
    application: &IntegratedApp,
    config_maps: &ConfigMaps,
) -> Result<(), ApplyError> {
    let ConfigMaps { apply, delete } = config_maps;
    let namespace = application.namespace().unwrap_or_default();
    let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let failed = |name: &str, action, error| ApplyError {
        namespace: namespace.clone(),
        name: name.to_owned(),
        action,
        error,
    };
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for wanted in apply {
        let name = wanted.name_any();
        api.patch(&name, &parameters, &Patch::Apply(wanted))
            .await
            .map_err(|error| failed(&name, "written", error))?;
    }
    for (name, uid) in delete {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                uid: Some(uid.clone()),
                resource_version: None,
            }),
            ..DeleteParams::default()
        };
        match api.delete(name, &parameters).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            Err(error) => return Err(failed(name, "deleted", error)),
        }
    }
    Ok(())
}
