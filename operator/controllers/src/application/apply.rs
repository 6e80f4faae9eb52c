use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use outrigger_api::{FIELD_MANAGER, IntegratedApp};

use super::documents::ConfigMaps;
use crate::call::{CallError, deleting, failed, unless};

/// Writes and deletes ConfigMaps.
pub(super) async fn apply(
    client: &Client,
    application: &IntegratedApp,
    config_maps: &ConfigMaps,
) -> Result<(), CallError> {
    let ConfigMaps { apply, delete } = config_maps;
    let namespace = application.namespace().unwrap_or_default();
    let api = Api::<ConfigMap>::namespaced(client.clone(), &namespace);
    let what = |name: &str| format!("ConfigMap {namespace}/{name}");
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for wanted in apply {
        let name = wanted.name_any();
        api.patch(&name, &parameters, &Patch::Apply(wanted))
            .await
            .map_err(failed(what(&name), "written"))?;
    }
    for (name, uid) in delete {
        let deleted = api.delete(name, &deleting(Some(uid.clone()), None)).await;
        unless(Status::is_not_found, deleted).map_err(failed(what(name), "deleted"))?;
    }
    Ok(())
}
