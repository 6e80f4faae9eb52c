//! Writes that somebody else is faster than.

use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::ObjectMeta;
use outrigger_api_server::ApiServer;
use serde_json::json;

use crate::sharing::apply::write;

const SERVICE: &str = "/api/v1/namespaces/store/services/outrigger-orders";

#[tokio::test]
async fn an_object_that_is_gone_or_another_one_is_looked_at_again() {
    let api = ApiServer::default();
    let put = || api.put(SERVICE, json!({"apiVersion": "v1", "kind": "Service"}));
    put();
    let services: Api<Service> = Api::namespaced(api.client(), "store");
    let seen = services.get("outrigger-orders").await.unwrap();
    let wanted = Service {
        metadata: ObjectMeta {
            name: Some("outrigger-orders".into()),
            uid: seen.metadata.uid,
            ..ObjectMeta::default()
        },
        ..Service::default()
    };
    assert_eq!(write(&services, &wanted).await.unwrap(), None);
    api.delete(SERVICE);
    let gone = write(&services, &wanted).await.unwrap();
    assert!(gone.is_some(), "{gone:?}");
    put();
    let another = write(&services, &wanted).await.unwrap();
    assert!(another.is_some(), "{another:?}");
}
