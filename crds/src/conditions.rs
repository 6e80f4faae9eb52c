//! Types and reasons of the conditions in every kind's status.
//!
//! `Ready` is always there; `Reconciling` and `Stalled` only while they are true (kstatus).

/// The object does what its spec asks for.
pub const READY: &str = "Ready";
/// The operator is at work on it.
pub const RECONCILING: &str = "Reconciling";
/// The operator cannot go on without a change by somebody.
pub const STALLED: &str = "Stalled";

/// Reasons, in the order of the troubleshooting page.
pub mod reason {
    /// Everything is as asked for.
    pub const SUCCEEDED: &str = "Succeeded";
    /// A named IntegrationSidecar does not exist.
    pub const SIDECAR_NOT_FOUND: &str = "SidecarNotFound";
    /// A named function does not exist in its IntegrationSidecar.
    pub const FUNCTION_NOT_FOUND: &str = "FunctionNotFound";
    /// Two functions of the application have one name or one port.
    pub const FUNCTION_CONFLICT: &str = "FunctionConflict";
    /// A parameter is missing or does not fit.
    pub const INVALID_PARAMETERS: &str = "InvalidParameters";
    /// A ConfigMap that `configFrom` or `caConfigMapRef` names does not exist.
    pub const CONFIG_MAP_NOT_FOUND: &str = "ConfigMapNotFound";
    /// Another, older IntegratedApp serves the pods.
    pub const POD_ALREADY_ADOPTED: &str = "PodAlreadyAdopted";
    /// Pods run without their sidecars.
    pub const PODS_NOT_INJECTED: &str = "PodsNotInjected";
    /// Pods would have to be created anew to follow the spec.
    pub const REQUIRES_RECREATE: &str = "RequiresRecreate";
    /// The admission webhook does not cover the namespace yet.
    pub const INJECTION_NOT_READY: &str = "InjectionNotReady";
    /// Pods are still to be told of the new configuration.
    pub const CONFIGURATION_PENDING: &str = "ConfigurationPending";
    /// The image is being tried before any application pod is touched.
    pub const PREFLIGHT: &str = "Preflight";
    /// The image cannot be used; no application pod was touched.
    pub const PREFLIGHT_FAILED: &str = "PreflightFailed";
    /// A pod is being swapped.
    pub const SWAPPING: &str = "Swapping";
    /// The rollout waits, the message says for what.
    pub const WAITING: &str = "Waiting";
    /// `update.paused` is set.
    pub const PAUSED: &str = "Paused";
    /// New pods get the newest revision, and running ones keep theirs until the rollout is resumed.
    pub const STAGED: &str = "Staged";
    /// As many pods have the newest revision as `update.partition` allows.
    pub const PARTITION_REACHED: &str = "PartitionReached";
    /// Pods are being evicted so that their successors follow the spec.
    pub const RECREATING: &str = "Recreating";
    /// Function pods that serve shared sidecars are still to come.
    pub const FUNCTION_PODS_PENDING: &str = "FunctionPodsPending";
    /// A function pod has more consumers than it can be told of.
    pub const TOO_MANY_CONSUMERS: &str = "TooManyConsumers";
    /// The configuration of an application has no room in a shared sidecar's.
    pub const CONFIGURATION_TOO_LARGE: &str = "ConfigurationTooLarge";
    /// Somebody else changed the image of a slot.
    pub const IMAGE_DRIFT: &str = "ImageDrift";
    /// The slots of a pod cannot be asked.
    pub const SLOT_UNREACHABLE: &str = "SlotUnreachable";
    /// A slot did not see its order in time.
    pub const ORDER_NOT_SEEN: &str = "OrderNotSeen";
    /// The active slot could not pass its work on.
    pub const HANDOVER_FAILED: &str = "HandoverFailed";
    /// The new image failed while it served; the old one serves again.
    pub const REVISION_FAILED: &str = "RevisionFailed";
    /// A slot refuses its configuration, and goes on with the last good one.
    pub const CONFIGURATION_REFUSED: &str = "ConfigurationRefused";
    /// Pods of a Job that restarts its containers keep their image.
    pub const JOB_COUNTS_RESTARTS: &str = "JobCountsRestarts";
    /// A named Dataset does not exist.
    pub const DATASET_NOT_FOUND: &str = "DatasetNotFound";
    /// Pods wait for a node near their data, or for the scheduler.
    pub const PLACEMENT_PENDING: &str = "PlacementPending";
    /// No node can run a pod: what it asks for, and where its data or volumes are, exclude each
    /// other.
    pub const PLACEMENT_CONFLICT: &str = "PlacementConflict";
    /// The dataset is being looked at for the first time.
    pub const SCANNING: &str = "Scanning";
    /// No NameNode gives answers: away, standby, in safe mode, or something else answers.
    pub const NAME_NODE_UNAVAILABLE: &str = "NameNodeUnavailable";
    /// A NameNode's address is one that the operator does not connect to.
    pub const ADDRESS_REFUSED: &str = "AddressRefused";
    /// A path is missing, or may not be read.
    pub const PATH_UNREADABLE: &str = "PathUnreadable";
    /// There are more files than `hdfs.maxFiles`.
    pub const TOO_MANY_FILES: &str = "TooManyFiles";
    /// A DataNode leads to no Kubernetes node, or to more than one.
    pub const DATA_NODE_UNKNOWN: &str = "DataNodeUnknown";
    /// A named claim does not exist, or none has the labels.
    pub const CLAIM_NOT_FOUND: &str = "ClaimNotFound";
    /// A claim is not bound to a volume yet.
    pub const CLAIM_NOT_BOUND: &str = "ClaimNotBound";
    /// A claim has lost its volume.
    pub const CLAIM_LOST: &str = "ClaimLost";
    /// The node of a volume is gone, or is not ready.
    pub const VOLUME_NODE_GONE: &str = "VolumeNodeGone";
    /// A call to the API server failed; it is repeated.
    pub const API_ERROR: &str = "ApiError";
}
