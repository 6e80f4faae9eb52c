use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use outrigger_control::parameters::{CustomParameters, IdempotencyParameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An application, its integration sidecars with their parameters, and the data that it reads.
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
    doc = "An application, its integration sidecars with their parameters, and the data that it reads.\n\nThe application's workload is found by reference or by labels, and is never changed: pods get their sidecars, and their place, when they are created.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.matched", description = "Pods of the application"),
    printcolumn(name = "Injected", type_ = "integer", json_path = ".status.pods.injected", description = "Pods that have their sidecars"),
    printcolumn(name = "Sidecars", type_ = "string", json_path = ".spec.sidecars[*].name"),
    printcolumn(name = "Local", type_ = "string", json_path = ".status.placement.local", description = "The share of the pods' data that is on their own nodes"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')", "metadata.name must be a DNS label: at most 63 characters and no dots")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.workloadRef) != has(self.selector)", "exactly one of workloadRef and selector must be set"),
    validation = ("!has(self.locality) || has(self.data)", "locality needs data: it says how near to them pods are placed"),
    validation = ("!has(self.data) || !has(self.workloadRef) || self.workloadRef.kind != 'DaemonSet'", "data must not be set if workloadRef.kind is DaemonSet: it has a pod on each node already"),
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub sidecars: Vec<SidecarUse>,

    /// What is done about pods that cannot follow the spec in place: those without their sidecars,
    /// and those with fields that only a new pod can have; see [`Replacement`], whose text stands in
    /// the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replacement: Option<Replacement>,

    /// The data that the pods read. Pods that are created from now on are placed on the nodes that
    /// hold them, as far as `locality` says. Not for a DaemonSet, which has a pod on each node
    /// already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["dataset".into()]))]
    pub data: Option<Vec<DataHint>>,

    /// How pods are placed near their data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
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

    /// Lets containers reach the functions through Unix sockets too, beside their ports. Not for a
    /// shared sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unix_socket: Option<UnixSocket>,
}

/// An application's parameters of one function.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.idempotency) != has(self.custom)", "exactly one of idempotency and custom must be set"))]
pub struct FunctionParameters {
    /// Name of the function in the sidecar.
    #[schemars(length(min = 1, max = 58))]
    pub function: String,
    /// Parameters of an idempotency function. Exactly one of `idempotency` and `custom` is set, as
    /// in the sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyParameters>,
    /// Parameters of a function of the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomParameters>,
}

/// The Unix sockets of a sidecar's functions.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnixSocket {
    /// The containers of the application that get the directory with the sockets, and each socket's
    /// path in `OUTRIGGER_<FUNCTION>_SOCKET`.
    #[schemars(length(min = 1, max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub mount_into: BTreeSet<String>,
}

/// What is done about pods that cannot follow the spec in place; `Never` when absent.
///
/// - Never: they are reported, and stay as they are until their workload replaces them.
/// - Evict: they are evicted, as many at once as the sidecar's `update.maxUnavailable` says, where
///   PodDisruptionBudgets allow it, and after a pod that was only tried has shown that its successor
///   would get its sidecars. Pods without a controller are never evicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Replacement {
    /// They are reported.
    #[default]
    Never,
    /// They are evicted, and their workload creates them anew.
    Evict,
}

/// Data that an application's pods read.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataHint {
    /// Name of a Dataset of the namespace.
    #[schemars(length(min = 1, max = 253))]
    pub dataset: String,
    /// What a byte of this dataset counts for the choice of a node, compared with one of the
    /// others; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub weight: Option<i32>,
    /// See [`Split`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<Split>,
}

/// Which part of the dataset a pod reads; all of it when absent.
///
/// - ByIndex: the pod with index i of an Indexed Job or a StatefulSet reads part i: the i-th of
///   `hdfs.paths`, or the i-th claim by name, where `data-2` comes before `data-10`. After the last
///   part it goes on with the first. Pods without an index read all of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Split {
    /// Part i for the pod with index i.
    #[default]
    ByIndex,
}

/// How pods are placed near their data.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Locality {
    /// See [`LocalityMode`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<LocalityMode>,
    /// After so many seconds without a node that holds data and has room, counted from a pod's
    /// first attempt, `Required` becomes `Preferred`; 300 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86_400))]
    pub relax_after_seconds: Option<i64>,
    /// A pod that was sent to one node by `Required`, and that the scheduler has not bound after so
    /// many seconds, is deleted if a controller replaces it, and planned again without that node;
    /// 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 86_400))]
    pub bind_timeout_seconds: Option<i64>,
    /// Pods are placed only if their data have at least so many bytes; 1048576 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub threshold_bytes: Option<i64>,
    /// By how many pods a node that holds data may be ahead of another one that has room for more;
    /// 1 when absent. It holds for pods that read whole datasets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_skew: Option<i32>,
}

/// How much a pod's place counts; `Preferred` when absent.
///
/// - Preferred: the scheduler is asked for the best node, and may choose another one.
/// - Required: the pod waits for a node that holds some of its data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum LocalityMode {
    /// The scheduler is asked for the best node, and may choose another one.
    #[default]
    Preferred,
    /// The pod waits for a node that holds some of its data.
    Required,
}

/// `locality.relaxAfterSeconds` when it is absent.
pub const RELAX_AFTER_SECONDS: i64 = 300;
/// `locality.bindTimeoutSeconds` when it is absent.
pub const BIND_TIMEOUT_SECONDS: i64 = 60;
/// `locality.thresholdBytes` when it is absent: below it, reading from afar takes less time than
/// the wait at the gate may.
pub const THRESHOLD_BYTES: i64 = 1024 * 1024;

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
    /// Where the pods are, seen from their data. Only if the spec has `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement: Option<PlacementStatus>,
}

/// Numbers of pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ApplicationPods {
    /// Pods that belong to the application and have not ended.
    pub matched: i32,
    /// Those that have their sidecars. Without sidecars in the spec, those that would have got them
    /// when they were created.
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

/// Where an application's pods are, seen from their data.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacementStatus {
    /// `locality` as it is in effect, with defaults.
    pub effective: Locality,
    /// The share of the pods' data that is on their own nodes: `75 %`. Absent until a pod is on a
    /// node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// Bytes of the pods' data that are on their own nodes, added up over the pods on nodes.
    pub local_bytes: i64,
    /// Bytes of the pods' data, added up in the same way.
    pub total_bytes: i64,
    /// Pods on nodes, by name; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pod".into()]))]
    pub pods: Vec<PlacedPod>,
    /// Pods that wait for a node, at the gate or for the scheduler, by name; at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["pod".into()]))]
    pub waiting: Vec<WaitingPod>,
    /// Nodes that are not chosen for ten minutes, because a pod that was sent there was not bound.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["node".into()]))]
    pub avoided: Vec<AvoidedNode>,
}

/// A pod on a node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlacedPod {
    /// Name of the pod.
    pub pod: String,
    /// The node that it is on.
    pub node: String,
    /// Bytes of its data that the node holds.
    pub local_bytes: i64,
    /// Bytes of its data.
    pub total_bytes: i64,
    /// The other node that could have run it and holds most of its data; the node that was asked
    /// for, if the scheduler chose another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up: Option<String>,
    /// Bytes of its data that the runner-up holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_up_bytes: Option<i64>,
    /// Why it is there, in a sentence.
    pub reason: String,
}

/// A pod that waits for a node.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingPod {
    /// Name of the pod.
    pub pod: String,
    /// What it waits for, and until when.
    pub reason: String,
}

/// A node that is not chosen for a while.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AvoidedNode {
    /// Name of the node.
    pub node: String,
    /// Why.
    pub reason: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

impl Locality {
    /// With the default of each field that is absent.
    pub fn effective(locality: Option<&Locality>) -> Locality {
        let found = locality.cloned().unwrap_or_default();
        Locality {
            mode: Some(found.mode.unwrap_or_default()),
            relax_after_seconds: Some(found.relax_after_seconds.unwrap_or(RELAX_AFTER_SECONDS)),
            bind_timeout_seconds: Some(found.bind_timeout_seconds.unwrap_or(BIND_TIMEOUT_SECONDS)),
            threshold_bytes: Some(found.threshold_bytes.unwrap_or(THRESHOLD_BYTES)),
            max_skew: Some(found.max_skew.unwrap_or(1)),
        }
    }
}
