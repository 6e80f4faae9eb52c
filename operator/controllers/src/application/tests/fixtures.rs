use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_injection::{NamespaceRules, Settings, inject};
use outrigger_plan::{ApplicationPlan, Owners, Referenced};
use serde_json::{Value, json};

use crate::application::decide::{Decision, decide};
use crate::application::read::{Found, FoundPod};

/// An application for pods with the label `app=shop`.
pub(super) fn application(name: &str, created: &str, sidecars: Value) -> Arc<IntegratedApp> {
    let application = json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "metadata": {
            "name": name, "namespace": "store", "uid": format!("uid-{name}"),
            "generation": 1, "creationTimestamp": created,
        },
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "sidecars": sidecars},
    });
    Arc::new(serde_json::from_value(application).unwrap())
}

/// A sidecar with one function, named after it.
pub(super) fn sidecar(name: &str, port: u16) -> IntegrationSidecar {
    serde_json::from_value(json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "metadata": {"name": name, "namespace": "store", "uid": format!("uid-{name}")},
        "spec": {
            "image": "registry/sidecar:1",
            "functions": [{"name": name, "port": port, "idempotency": {"keyFields": ["/id"]}}],
            "store": {"postgresql": {
                "host": "db", "database": "orders", "credentials": {"secretName": "db"},
            }},
        },
    }))
    .unwrap()
}

pub(super) fn pod(name: &str) -> Pod {
    serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "store", "labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "app", "image": "app:1"}]},
    }))
    .unwrap()
}

/// Application `shop` with sidecar `orders`, in a namespace that the webhook covers, without pods.
pub(super) fn shop() -> Found {
    let usage = json!([{"name": "orders"}]);
    let application = application("shop", "2026-01-02T00:00:00Z", usage);
    Found {
        applications: vec![Arc::clone(&application)],
        application,
        referenced: Referenced {
            sidecars: BTreeMap::from([("orders".to_owned(), sidecar("orders", 15000))]),
            config_maps: BTreeMap::new(),
        },
        pods: Vec::new(),
        config_maps: Vec::new(),
        covered: true,
        placement: None,
    }
}

impl Found {
    pub(super) fn plan(&self) -> ApplicationPlan {
        ApplicationPlan::new(&self.application, &self.referenced).unwrap()
    }

    pub(super) fn decide(&self) -> Decision {
        let plan = ApplicationPlan::new(&self.application, &self.referenced);
        decide(self, plan.as_ref(), &Settings::default())
    }

    /// Reason and message of the condition `Ready`.
    pub(super) fn told(&self) -> (&'static str, String) {
        let summary = self.decide().summary;
        (summary.reason, summary.message)
    }

    /// A pod as the injector makes it now.
    pub(super) fn injected(&self, name: &str) -> Pod {
        let bare = pod(name);
        let rules = NamespaceRules::default();
        let patch = inject(&bare, &self.plan(), &Settings::default(), &rules, false).unwrap();
        let mut value = serde_json::to_value(bare).unwrap();
        json_patch::patch(&mut value, &patch).unwrap();
        serde_json::from_value(value).unwrap()
    }

    pub(super) fn add_injected(&mut self, name: &str) {
        let pod = self.injected(name);
        self.add(pod);
    }

    pub(super) fn add(&mut self, pod: Pod) {
        self.pods.push(FoundPod {
            pod: Arc::new(pod),
            owners: Owners::default(),
        });
    }

    pub(super) fn edit(&mut self, change: impl FnOnce(&mut IntegratedApp)) {
        let mut application = IntegratedApp::clone(&self.application);
        change(&mut application);
        self.application = Arc::new(application);
        let name = self.application.metadata.name.clone();
        self.applications
            .retain(|other| other.metadata.name != name);
        self.applications.push(Arc::clone(&self.application));
    }

    /// Takes over the ConfigMaps that were decided, like the API server.
    pub(super) fn apply(&mut self) {
        for config_map in self.decide().config_maps.apply {
            let name = config_map.metadata.name.clone();
            self.config_maps.retain(|other| other.metadata.name != name);
            let mut stored: ConfigMap = config_map;
            stored.metadata.uid = Some("uid-of-it".into());
            self.config_maps.push(Arc::new(stored));
        }
    }
}

pub(super) fn deployment(name: &str) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: name.into(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}
