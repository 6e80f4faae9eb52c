use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use kube::core::Status;
use kube::{Api, Client, ResourceExt};
use outrigger_api::{FIELD_MANAGER, IntegratedApp};

use super::documents::ConfigMaps;
use crate::call::{CallError, deleting, failed, is_another, unless};

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
        let is_gone = |status: &Status| status.is_not_found() || is_another(status);
        unless(is_gone, deleted).map_err(failed(what(name), "deleted"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use outrigger_api_server::ApiServer;
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_config_map_that_came_under_the_name_of_another_stays() {
        let path = "/api/v1/namespaces/store/configmaps/outrigger.shop.orders";
        let api = ApiServer::default();
        api.put(path, json!({"apiVersion": "v1", "kind": "ConfigMap"}));
        let application = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp",
            "metadata": {"name": "shop", "namespace": "store"},
            "spec": {"selector": {"matchLabels": {"app": "shop"}}, "sidecars": [{"name": "orders"}]},
        });
        let application = serde_json::from_value(application).unwrap();
        let one_before = ("outrigger.shop.orders".to_owned(), "one before".to_owned());
        let config_maps = ConfigMaps {
            apply: Vec::new(),
            delete: vec![one_before],
        };
        let applied = apply(&api.client(), &application, &config_maps).await;
        assert!(applied.is_ok(), "{applied:?}");
        assert!(api.get(path).is_some());
    }
}
