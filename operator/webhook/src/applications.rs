use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_api::{Dataset, IntegratedApp};
use outrigger_injection::NamespaceRules;
use outrigger_lookup::{Lookup, LookupError};
use outrigger_plan::{Owners, Referenced};

/// What the injector asks of the cluster.
pub trait Applications: Send + Sync + 'static {
    /// The IntegratedApps of a namespace.
    fn applications_in(&self, namespace: &str) -> Vec<Arc<IntegratedApp>>;

    /// The objects that an application refers to.
    fn referenced(
        &self,
        application: &IntegratedApp,
    ) -> impl Future<Output = Result<Referenced, LookupError>> + Send;

    /// A Dataset of a namespace, if there is one.
    fn dataset(&self, namespace: &str, name: &str) -> Option<Arc<Dataset>>;

    /// The owners of a pod that is being created in a namespace.
    fn owners(
        &self,
        namespace: &str,
        pod: &Pod,
    ) -> impl Future<Output = Result<Owners, LookupError>> + Send;

    /// What a namespace asks of its containers.
    fn namespace_rules(
        &self,
        namespace: &str,
    ) -> impl Future<Output = Result<NamespaceRules, LookupError>> + Send;
}

impl Applications for Arc<Lookup> {
    fn applications_in(&self, namespace: &str) -> Vec<Arc<IntegratedApp>> {
        self.applications().in_namespace(namespace)
    }

    async fn referenced(&self, application: &IntegratedApp) -> Result<Referenced, LookupError> {
        let namespace = application.namespace().unwrap_or_default();
        Lookup::referenced(self, &namespace, [application]).await
    }

    fn dataset(&self, namespace: &str, name: &str) -> Option<Arc<Dataset>> {
        self.datasets().get(namespace, name)
    }

    async fn owners(&self, namespace: &str, pod: &Pod) -> Result<Owners, LookupError> {
        Lookup::owners(self, namespace, pod.owner_references()).await
    }

    async fn namespace_rules(&self, namespace: &str) -> Result<NamespaceRules, LookupError> {
        Lookup::namespace_rules(self, namespace).await
    }
}
