use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::LocalReference;

/// `refresh.intervalSeconds` when it is absent.
pub const REFRESH_SECONDS: i64 = 60;
/// `hdfs.maxFiles` when it is absent.
pub const MAX_FILES: i64 = 200_000;
/// `hdfs.requestsPerSecond` when it is absent.
pub const REQUESTS_PER_SECOND: i32 = 500;
/// Most entries of a list in a Dataset's status.
pub const MOST_LISTED: usize = 32;

/// Named data, and the nodes that hold them.
#[allow(clippy::duplicated_attributes, reason = "columns have types alike")]
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "Dataset",
    plural = "datasets",
    shortname = "ods",
    category = "outrigger",
    namespaced,
    status = "DatasetStatus",
    derive = "PartialEq",
    doc = "Named data, and the nodes that hold them.\n\nAn IntegratedApp that names a Dataset in `data` gets its pods placed on these nodes. The data themselves are never read or moved: only where they are is asked for.",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Size",
        type_ = "string",
        json_path = ".status.size",
        description = "All bytes, each counted once"
    ),
    printcolumn(name = "Files", type_ = "integer", json_path = ".status.files"),
    printcolumn(
        name = "Nodes",
        type_ = "integer",
        json_path = ".status.nodeCount",
        description = "Nodes that hold some of the bytes"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.persistentVolumeClaims) != has(self.hdfs)", "exactly one of persistentVolumeClaims and hdfs must be set"))]
pub struct DatasetSpec {
    /// PersistentVolumeClaims of the namespace. Exactly one of `persistentVolumeClaims` and `hdfs`
    /// is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claims: Option<ClaimsSource>,

    /// Files in HDFS. Exactly one of `persistentVolumeClaims` and `hdfs` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hdfs: Option<HdfsSource>,

    /// When to look again. Claims are watched, so it concerns `hdfs` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
}

/// Claims by name or by label. Exactly one of its fields is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.names) != has(self.selector)", "exactly one of persistentVolumeClaims.names and persistentVolumeClaims.selector must be set"),
    validation = ("!has(self.selector) || (has(self.selector.matchLabels) && self.selector.matchLabels.size() > 0) || (has(self.selector.matchExpressions) && self.selector.matchExpressions.size() > 0)", "persistentVolumeClaims.selector must name at least one label: an empty one would match every claim of the namespace"),
)]
pub struct ClaimsSource {
    /// Names of PersistentVolumeClaims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Option<BTreeSet<String>>,
    /// Labels of PersistentVolumeClaims, such as those of a StatefulSet's `volumeClaimTemplates`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Files in HDFS, whose block locations the operator asks a NameNode for, by WebHDFS.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HdfsSource {
    /// Addresses of the NameNode's web server: `http://namenode.hdfs.svc:9870`. With high
    /// availability, those of all NameNodes; the active one is found and followed. Redirects are
    /// not followed. Loopback, link-local and the API server's addresses are refused. NameNodes that
    /// ask for Kerberos are not supported.
    #[schemars(
        length(min = 1, max = 8),
        inner(length(max = 512), regex(pattern = r"^https?://[^/?#@\s]+/?$"))
    )]
    pub name_nodes: Vec<String>,

    /// Absolute paths of files and directories. A directory stands for all files below it. Each
    /// path is one part of the dataset, see `split` in an IntegratedApp's `data`.
    #[schemars(
        length(min = 1, max = 256),
        inner(length(max = 4096), regex(pattern = r"^/"))
    )]
    pub paths: Vec<String>,

    /// The user that NameNodes without Kerberos are told (`user.name`). When absent, the NameNode
    /// takes its own default, `dr.who`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 64),
        regex(pattern = r"^[A-Za-z_][A-Za-z0-9._-]*[$]?$")
    )]
    pub user: Option<String>,

    /// How a NameNode with an address `https://…` is verified. When absent, by the authorities that
    /// browsers trust.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<HdfsTls>,

    /// How a DataNode's Kubernetes node is found; by its host name when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_names: Option<NodeNames>,

    /// Most files of all paths together; 200000 when absent. If there are more, none is asked
    /// about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 2_000_000))]
    pub max_files: Option<i64>,

    /// Most requests per second to the NameNode for this dataset; 500 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub requests_per_second: Option<i32>,
}

/// Verification of a NameNode's certificate.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HdfsTls {
    /// A ConfigMap of the namespace whose key `ca.crt` holds the certificates of the authorities to
    /// trust, in PEM.
    pub ca_config_map_ref: LocalReference,
}

/// How a DataNode's Kubernetes node is found.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.label) == (self.from == 'Label')", "nodeNames.label must be set if nodeNames.from is Label, and only then"))]
pub struct NodeNames {
    /// See [`NodeNamesFrom`], whose text stands in the schema.
    pub from: NodeNamesFrom,
    /// Key of the node label whose value is the DataNode's host name. Only with `from: Label`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 316))]
    pub label: Option<String>,
}

/// What leads from a DataNode to its Kubernetes node.
///
/// - Hostname: the DataNode's host name is the node's name, in short or in full, whatever the case.
/// - Pod: the DataNode is a pod with its own IP address; the node is the one that the pod runs on.
/// - Label: the DataNode's host name is the value of a label of the node, named by `label`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NodeNamesFrom {
    /// The DataNode's host name is the node's name.
    #[default]
    Hostname,
    /// The DataNode is a pod.
    Pod,
    /// The DataNode's host name is the value of a node label.
    Label,
}

/// When a dataset is looked at again.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refresh {
    /// Seconds between the end of a scan and the next one; 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 5, max = 86_400))]
    pub interval_seconds: Option<i64>,
}

/// What the operator found.
///
/// It is written when something else is found, not after each scan.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` always; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// All bytes, each counted once however many copies there are; of claims the size of their
    /// volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<i64>,
    /// The same for people: `12.0 MiB`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// Bytes that no node holds alone, such as those of erasure-coded files, of missing blocks, of
    /// claims that are not bound, and of volumes that all nodes reach alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_on_no_node: Option<i64>,
    /// Files, or claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<i64>,
    /// HDFS blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<i64>,
    /// Number of nodes that hold some of the bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_count: Option<i32>,
    /// The nodes that hold most, by bytes; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub nodes: Vec<NodeBytes>,
    /// DataNodes that lead to no Kubernetes node, or to more than one; at most 32. What they hold
    /// counts as on no node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub unknown_data_nodes: Vec<String>,
    /// Paths and claims that could not be looked at, and why; at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub problems: Vec<DatasetProblem>,
    /// Hash of where the bytes are. Equal fingerprints mean equal places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// When the scan began that found this first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// How much of a dataset a node holds.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeBytes {
    /// Name of the node.
    pub name: String,
    /// Bytes of which it holds a copy.
    pub bytes: i64,
}

/// What could not be looked at.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetProblem {
    /// The path, or the claim.
    pub name: String,
    /// Why, and what would be allowed.
    pub message: String,
}

impl DatasetSpec {
    /// Seconds between scans, with the default.
    pub fn refresh_seconds(&self) -> u64 {
        let interval = self
            .refresh
            .as_ref()
            .and_then(|refresh| refresh.interval_seconds);
        u64::try_from(interval.unwrap_or(REFRESH_SECONDS)).unwrap_or_default()
    }
}

impl DatasetStatus {
    /// When the status began to hold, if it says.
    pub fn since(&self) -> Option<Timestamp> {
        self.since.as_ref().map(|since| since.0)
    }
}
