//! A replica that leads, and the objects that it works on.

use std::collections::BTreeSet;

use kube::Client;
use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::replica::Replica;
use crate::webhook::injected;

pub(crate) struct Leader {
    pub(crate) api: ApiServer,
    pub(crate) replica: Replica,
}

impl Leader {
    /// Leads, with namespace `store` covered by the webhook.
    pub(crate) fn start(api: &ApiServer) -> Leader {
        Leader::with(api, api.client())
    }

    /// The same, with its own way to the API server.
    pub(crate) fn with(api: &ApiServer, client: Client) -> Leader {
        Leader {
            api: api.clone(),
            replica: Replica::lead(client),
        }
    }

    /// Waits until the condition `Ready` of an application has a reason, and returns its message.
    pub(crate) async fn says(&self, name: &str, reason: &str) -> String {
        let path = application_path(name);
        let says = |found: Option<&Value>| {
            let ready = found.map(|found| &found["status"]["conditions"][0]);
            ready.is_some_and(|ready| ready["type"] == "Ready" && ready["reason"] == reason)
        };
        self.api.until(&path, says).await;
        let found = self.api.get(&path).unwrap();
        let message = &found["status"]["conditions"][0]["message"];
        message.as_str().unwrap().to_owned()
    }

    /// Waits until an application's status has these numbers of pods: matched, injected, without.
    pub(crate) async fn counts(&self, name: &str, numbers: [i32; 3]) {
        let [matched, injected, without] = numbers;
        let wanted = json!({
            "matched": matched, "injected": injected, "withoutSidecars": without,
        });
        let counts =
            |found: Option<&Value>| found.is_some_and(|found| found["status"]["pods"] == wanted);
        self.api.until(&application_path(name), counts).await;
    }

    /// Waits until the controller has seen everything that was written before: the status follows
    /// the coverage of the namespace, which is taken away and given back.
    pub(crate) async fn settled(&self, name: &str) {
        self.replica.covered.send_replace(BTreeSet::new());
        self.says(name, "InjectionNotReady").await;
        self.replica
            .covered
            .send_replace(BTreeSet::from(["store".to_owned()]));
        self.says(name, "Succeeded").await;
    }
}

pub(crate) fn application_path(name: &str) -> String {
    format!("/apis/outrigger.dev/v1alpha1/namespaces/store/integratedapps/{name}")
}

pub(crate) fn sidecar_path(name: &str) -> String {
    format!("/apis/outrigger.dev/v1alpha1/namespaces/store/integrationsidecars/{name}")
}

pub(crate) fn pod_path(name: &str) -> String {
    format!("/api/v1/namespaces/store/pods/{name}")
}

pub(crate) fn config_map_path(name: &str) -> String {
    format!("/api/v1/namespaces/store/configmaps/{name}")
}

/// An application for pods with the label `app=shop`, with sidecar `orders`.
pub(crate) fn application() -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "sidecars": [{"name": "orders"}],
        },
    })
}

/// A sidecar with one function `once`.
pub(crate) fn sidecar() -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "spec": {
            "image": "registry/sidecar:1",
            "functions": [{"name": "once", "idempotency": {"keyFields": ["/id"]}}],
            "store": {"postgresql": {
                "host": "db", "database": "orders", "credentials": {"secretName": "db"},
            }},
        },
    })
}

pub(crate) fn pod() -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
        "status": {"phase": "Running"},
    })
}

/// Creates a pod as the webhook makes it for application `shop`.
pub(crate) fn put_injected(api: &ApiServer, name: &str) {
    api.put(&pod_path(name), injected(api, pod()));
}

/// Application `shop`, sidecar `orders`, and one pod that has it.
pub(crate) fn shop() -> ApiServer {
    let api = ApiServer::default();
    api.put(&application_path("shop"), application());
    api.put(&sidecar_path("orders"), sidecar());
    put_injected(&api, "a");
    api
}
