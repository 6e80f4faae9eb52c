use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector};
use kube::{CustomResource, KubeSchema};
use outrigger_control::parameters::IdempotencyParameters;
use serde::{Deserialize, Serialize};

/// An application, its integration sidecars and their parameters.
///
/// The application's workload is found by reference or by labels, and is never changed: pods get
/// their sidecars when they are created.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "IntegratedApp",
    plural = "integratedapps",
    shortname = "iapp",
    category = "outrigger",
    namespaced,
    status = "IntegratedAppStatus",
    derive = "PartialEq",
    doc = "An application, its integration sidecars and their parameters.\n\nThe application's workload is found by reference or by labels, and is never changed: pods get their sidecars when they are created.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.matched", description = "Pods of the application"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected", description = "Pods that have their sidecars"),
    printcolumn(name = "Sidecars", type_ = "string", json_path = ".spec.sidecars[*].name"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')", "metadata.name must be a DNS label: at most 63 characters and no dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.workloadRef) != has(self.selector)", "exactly one of workloadRef and selector must be set"),
    validation = ("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)", "selector must name at least one label: an empty one would match every pod of the namespace"),
)]
pub struct IntegratedAppSpec {
    /// The workload whose pods are the application: a Deployment, StatefulSet, DaemonSet, Job,
    /// CronJob, Argo Rollout, or any other kind that owns pods, directly or through a ReplicaSet
    /// or Job. Exactly one of `workloadRef` and `selector` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadReference>,

    /// Labels of the application's pods, for pods without a common owner. Exactly one of
    /// `workloadRef` and `selector` is set. When two IntegratedApps match one pod, the older one
    /// serves it and the newer one says `PodAlreadyAdopted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,

    /// The sidecars that each pod gets. A sidecar added later reaches pods that are created later.
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sidecars: Vec<SidecarUse>,
}

/// The workload that owns an application's pods, in the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadReference {
    /// API version, for example `apps/v1`. The group decides; another version of it is the same kind.
    #[schemars(length(min = 1, max = 253))]
    pub api_version: String,
    /// Kind, for example `Deployment`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name of the workload.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// How an application uses one IntegrationSidecar.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarUse {
    /// Name of an IntegrationSidecar of the namespace.
    #[schemars(length(min = 1, max = 58))]
    pub name: String,

    /// The functions that this application uses; all functions of the sidecar when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub functions: Option<BTreeSet<String>>,

    /// The containers of the application that get the functions' addresses as environment
    /// variables `OUTRIGGER_<FUNCTION>_URL`; all containers when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub containers: Option<BTreeSet<String>>,

    /// This application's own parameters. They win over those of the sidecar and over `configFrom`,
    /// field by field, so that applications with different needs share one sidecar definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["function".into()]))]
    pub parameters: Option<Vec<FunctionParameters>>,
}

/// An application's parameters of one function.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionParameters {
    /// Name of the function in the sidecar.
    #[schemars(length(min = 1, max = 58))]
    pub function: String,
    /// Parameters of an idempotency function.
    pub idempotency: IdempotencyParameters,
}

/// What the operator found and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegratedAppStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` always; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The application's pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<ApplicationPods>,
    /// The sidecars in use, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sidecars: Vec<InjectedSidecar>,
}

/// Numbers of pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationPods {
    /// Pods that belong to the application and have not ended.
    pub matched: i32,
    /// Those that have their sidecars.
    pub injected: i32,
    /// Those without: they were created before the IntegratedApp, or while the webhook was away.
    /// They get their sidecars when their owner creates them anew.
    pub without_sidecars: i32,
}

/// A sidecar as the application uses it.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InjectedSidecar {
    /// Name of the IntegrationSidecar.
    pub name: String,
    /// Hash of the configuration that its slots are to use.
    pub configuration: String,
    /// Addresses of the functions, as the containers see them: `orders=http://127.0.0.1:15000`.
    pub functions: Vec<String>,
}
