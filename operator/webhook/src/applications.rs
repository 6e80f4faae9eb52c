use std::future::Future;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use outrigger_api::IntegratedApp;
use outrigger_injection::NamespaceRules;
use outrigger_plan::{Owners, Referenced};

/// Something that an answer depends on cannot be read now.
#[derive(Debug, thiserror::Error)]
#[error("{what} cannot be read: {error}")]
pub struct LookupError {
    /// What it is, with its namespace.
    pub what: String,
    /// Why.
    pub error: kube::Error,
}

/// What the injector asks of the cluster.
pub trait Applications: Send + Sync + 'static {
    /// The IntegratedApps of a namespace.
    fn applications_in(&self, namespace: &str) -> Vec<Arc<IntegratedApp>>;

    /// The objects that an application refers to.
    fn referenced(
        &self,
        application: &IntegratedApp,
    ) -> impl Future<Output = Result<Referenced, LookupError>> + Send;

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
