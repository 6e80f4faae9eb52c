use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations, ServiceReference,
    WebhookClientConfig,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    LabelSelector, LabelSelectorRequirement, OwnerReference,
};
use outrigger_control::layout::PREFLIGHT_LABEL;

/// Name of the MutatingWebhookConfiguration.
pub const CONFIGURATION_NAME: &str = "outrigger-injector";
/// Path of the webhook.
pub const WEBHOOK_PATH: &str = "/inject";

const WEBHOOK: &str = "pods.outrigger.dev";
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";
/// Namespace of the control plane's own pods, which must never wait for a webhook.
const KUBE_SYSTEM: &str = "kube-system";

/// What happens to new pods while no replica answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// They are refused.
    Fail,
    /// They run without sidecars.
    Ignore,
}

impl fmt::Display for FailurePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What the operator's flags say about the webhook.
#[derive(Clone, Debug)]
pub struct ConfigurationSettings {
    /// Namespace of the operator.
    pub namespace: String,
    /// Name of the webhook's Service there.
    pub service: String,
    /// Name of the ClusterRole that owns the configuration, so that it goes with the role.
    pub cluster_role: String,
    /// What happens while no replica answers.
    pub failure_policy: FailurePolicy,
}

impl ConfigurationSettings {
    /// The namespaces that the webhook may cover: neither the control plane's nor our own, where a
    /// webhook that is away would keep itself away.
    pub(crate) fn allowed(&self, namespaces: &BTreeSet<String>) -> BTreeSet<String> {
        let mut allowed = namespaces.clone();
        allowed.remove(KUBE_SYSTEM);
        allowed.remove(&self.namespace);
        allowed
    }

    /// The webhook for the given namespaces, with every field that the API server would fill in.
    pub(crate) fn webhook(
        &self,
        namespaces: &BTreeSet<String>,
        authorities: &str,
    ) -> MutatingWebhook {
        MutatingWebhook {
            name: WEBHOOK.into(),
            admission_review_versions: vec!["v1".into()],
            client_config: WebhookClientConfig {
                ca_bundle: Some(ByteString(authorities.as_bytes().to_vec())),
                service: Some(ServiceReference {
                    namespace: self.namespace.clone(),
                    name: self.service.clone(),
                    path: Some(WEBHOOK_PATH.into()),
                    port: Some(443),
                }),
                url: None,
            },
            rules: Some(vec![RuleWithOperations {
                api_groups: Some(vec![String::new()]),
                api_versions: Some(vec!["v1".into()]),
                operations: Some(vec!["CREATE".into()]),
                resources: Some(vec!["pods".into()]),
                scope: Some("Namespaced".into()),
            }]),
            namespace_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: NAMESPACE_LABEL.into(),
                    operator: "In".into(),
                    values: Some(namespaces.iter().cloned().collect()),
                }]),
                ..LabelSelector::default()
            }),
            object_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: PREFLIGHT_LABEL.into(),
                    operator: "DoesNotExist".into(),
                    values: None,
                }]),
                ..LabelSelector::default()
            }),
            failure_policy: Some(self.failure_policy.to_string()),
            match_policy: Some("Equivalent".into()),
            reinvocation_policy: Some("IfNeeded".into()),
            side_effects: "None".into(),
            timeout_seconds: Some(5),
            match_conditions: None,
        }
    }
}

/// A configuration with one webhook, owned by the ClusterRole. What others wrote into the metadata
/// of `found` stays; its webhooks do not.
pub(crate) fn configuration(
    found: Option<&MutatingWebhookConfiguration>,
    webhook: MutatingWebhook,
    owner: OwnerReference,
) -> MutatingWebhookConfiguration {
    let mut configuration = found.cloned().unwrap_or_default();
    let metadata = &mut configuration.metadata;
    metadata.name = Some(CONFIGURATION_NAME.into());
    metadata.owner_references = Some(vec![owner]);
    metadata.managed_fields = None;
    metadata
        .labels
        .get_or_insert_default()
        .insert("app.kubernetes.io/managed-by".into(), "outrigger".into());
    configuration.webhooks = Some(vec![webhook]);
    configuration
}

/// The namespaces that a configuration covers.
pub(crate) fn covered(found: &MutatingWebhookConfiguration) -> BTreeSet<String> {
    found
        .webhooks
        .iter()
        .flatten()
        .filter(|webhook| webhook.name == WEBHOOK)
        .filter_map(|webhook| webhook.namespace_selector.as_ref())
        .flat_map(|selector| selector.match_expressions.iter().flatten())
        .filter(|requirement| requirement.key == NAMESPACE_LABEL && requirement.operator == "In")
        .flat_map(|requirement| requirement.values.iter().flatten().cloned())
        .collect()
}
