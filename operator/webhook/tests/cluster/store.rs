//! Applications for the injector, without a cluster.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use outrigger_api::{Dataset, IntegratedApp, IntegrationSidecar};
use outrigger_injection::NamespaceRules;
use outrigger_lookup::LookupError;
use outrigger_plan::{Owners, Referenced};
use outrigger_webhook::Applications;
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) applications: Arc<Mutex<Vec<Arc<IntegratedApp>>>>,
    pub(crate) datasets: Arc<Mutex<BTreeMap<String, Dataset>>>,
    pub(crate) referenced: Arc<Mutex<Referenced>>,
    pub(crate) owners: Arc<Mutex<Owners>>,
    pub(crate) unreadable: Arc<Mutex<bool>>,
}

impl Store {
    /// With IntegratedApp `shop` for pods with the label `app=shop`, and its sidecar `orders`.
    pub(crate) fn shop() -> Store {
        let store = Store::default();
        store.add(application(
            "shop",
            "2026-01-01T00:00:00Z",
            json!({"selector": {
                "matchLabels": {"app": "shop"},
            }}),
        ));
        let orders: IntegrationSidecar = serde_json::from_value(json!({
            "apiVersion": "outrigger.dev/v1alpha1",
            "kind": "IntegrationSidecar",
            "metadata": {"name": "orders", "namespace": "store"},
            "spec": {
                "image": "registry/sidecar:1",
                "functions": [{"name": "once", "idempotency": {"keyFields": ["/id"]}}],
            },
        }))
        .unwrap();
        store
            .referenced
            .lock()
            .sidecars
            .insert("orders".into(), orders);
        store
    }

    pub(crate) fn add(&self, application: IntegratedApp) {
        self.applications.lock().push(Arc::new(application));
    }
}

pub(crate) fn application(name: &str, created: &str, who: Value) -> IntegratedApp {
    let mut spec = who;
    spec["sidecars"] = json!([{"name": "orders"}]);
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {"name": name, "namespace": "store", "creationTimestamp": created},
        "spec": spec,
    }))
    .unwrap()
}

impl Applications for Store {
    fn applications_in(&self, namespace: &str) -> Vec<Arc<IntegratedApp>> {
        let mut found = self.applications.lock().clone();
        found.retain(|application| application.metadata.namespace.as_deref() == Some(namespace));
        found
    }

    async fn referenced(&self, _: &IntegratedApp) -> Result<Referenced, LookupError> {
        if *self.unreadable.lock() {
            return Err(LookupError {
                what: "ConfigMap store/parameters".into(),
                error: kube::Error::LinesCodecMaxLineLengthExceeded,
            });
        }
        Ok(self.referenced.lock().clone())
    }

    fn dataset(&self, _: &str, name: &str) -> Option<Arc<Dataset>> {
        self.datasets.lock().get(name).cloned().map(Arc::new)
    }

    async fn owners(&self, _: &str, _: &Pod) -> Result<Owners, LookupError> {
        Ok(self.owners.lock().clone())
    }

    async fn namespace_rules(&self, _: &str) -> Result<NamespaceRules, LookupError> {
        Ok(NamespaceRules::default())
    }
}
