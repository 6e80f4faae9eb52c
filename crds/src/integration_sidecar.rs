use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use outrigger_control::layout::DEFAULT_FUNCTION_PORT;
use outrigger_control::parameters::{CustomParameters, IdempotencyParameters, PostgresqlStore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Credentials, Share};

/// `update.soakSeconds` when it is absent.
pub const HOT_SWAP_SOAK_SECONDS: i64 = 10;
/// `update.rollback.errorRatioPercent` when it is absent.
pub const ERROR_RATIO_PERCENT: i32 = 5;
/// `replicas` when it is absent.
pub const FUNCTION_POD_REPLICAS: i32 = 2;
/// Longest name of a sidecar that is not shared by the containers of one pod only: Services and
/// pods are named after it.
pub const MAX_SHARED_SIDECAR_NAME: usize = 50;

/// A sidecar image, the integration functions that it hosts, and how it is updated.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "outrigger.dev",
    version = "v1alpha1",
    kind = "IntegrationSidecar",
    plural = "integrationsidecars",
    shortname = "iside",
    category = "outrigger",
    namespaced,
    status = "IntegrationSidecarStatus",
    derive = "PartialEq",
    doc = "A sidecar image, the integration functions that it hosts, and how it is updated.\n\nIn each pod the sidecar has two slots, containers with the same image at rest. A new image is swapped into one slot after the other while the application's own containers, connections and requests go on.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Updated", type_ = "integer", json_path = ".status.pods.updated", description = "Pods whose slots both run the newest revision"),
    printcolumn(name = "Pods", type_ = "integer", json_path = ".status.pods.total", description = "Pods with this sidecar"),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.currentRevision.name"),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image"),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = ("self.metadata.name.size() <= 58 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "metadata.name must be at most 58 characters of a-z, 0-9 and '-', and start with a letter: containers and annotations are named after it"),
    validation = ("!has(self.spec.sharing) || self.spec.sharing == 'Pod' || self.metadata.name.size() <= 50", "metadata.name must be at most 50 characters if sharing is Node or Namespace: a Service and pods are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("has(self.functions) != has(self.container)", "exactly one of functions and container must be set: functions for an image that is built on the chassis, container for any other"),
    validation = ("!has(self.functions) || self.functions.all(f, self.functions.exists_one(g, g.name == f.name))", "functions[].name must be unique"),
    validation = ("!has(self.functions) || !self.functions.exists(f, has(f.idempotency)) || (has(self.store) && has(self.store.postgresql))", "a function of kind idempotency needs store.postgresql"),
    validation = ("!has(self.container) || !has(self.sharing) || self.sharing == 'Pod'", "sharing must be Pod, or absent, if container is set"),
    validation = ("!has(self.container) || !has(self.update) || !has(self.update.strategy) || self.update.strategy in ['InPlace', 'Recreate']", "update.strategy must be InPlace or Recreate, or absent, if container is set: an image that is not built on the chassis cannot pass its connections on"),
    validation = ("!has(self.replicas) || (has(self.sharing) && self.sharing == 'Namespace')", "replicas is for sharing Namespace"),
    validation = ("!has(self.tenantLimits) || (has(self.sharing) && self.sharing != 'Pod')", "tenantLimits is for sharing Node and Namespace: a sidecar of one pod has one tenant"),
)]
pub struct IntegrationSidecarSpec {
    /// The sidecar's image. Changing it swaps the image in every pod, without restarting the
    /// application. Setting the former image again goes back.
    #[schemars(length(min = 1, max = 512))]
    pub image: String,

    /// Secrets with credentials for the image's registry, added to each pod when it is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub image_pull_secrets: Option<Vec<LocalReference>>,

    /// The functions that the sidecar hosts. Exactly one of `functions` and `container` is set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub functions: Vec<FunctionSpec>,

    /// How to run an image that is not built on the chassis. It has one container in each pod, named
    /// like the sidecar, and is updated with a gap (`InPlace`). Exactly one of `functions` and
    /// `container` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<ForeignContainer>,

    /// See [`Sharing`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,

    /// How many function pods serve the namespace, for `sharing: Namespace`; 2 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: Option<i32>,

    /// What each application may use of a shared function pod, so that none starves another. For
    /// `sharing: Node` and `Namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_limits: Option<TenantLimits>,

    /// Where the functions of this sidecar store. A function of kind `idempotency` needs
    /// `postgresql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,

    /// What the functions prove with who they act for: with one credential they act for the
    /// application, with the other they report to the system. Containers of the application can
    /// read neither. A new value in a Secret is used without a restart; another Secret, audience or
    /// expiration is for pods that are created later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,

    /// CPU and memory of each slot, in the form of a container's `resources`. When absent a slot
    /// requests 10m and 32Mi and is limited to 128Mi. A pod's quality-of-service class is kept in
    /// any case: slots of a Guaranteed pod get limits equal to their requests, and a pod with
    /// pod-level resources gets slots without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<SlotResources>,

    /// How a new image reaches running pods.
    ///
    /// Before any pod is touched, the image is tried on each node concerned by a short-lived
    /// preflight pod, with the configuration and the pull secrets of the application's pods. If
    /// that fails, the rollout ends there, and `status.conditions` quotes the reason. Then one pod
    /// after the other, or as many at once as `maxUnavailable` says, goes through five phases, which `status.swaps` shows:
    ///
    /// - PatchStandby: the standby slot gets the new image.
    /// - Warm: it loads its configuration and connects to its store.
    /// - Handover: it takes over listeners and connections, and serves.
    /// - Soak: the old slot, still on the old image, is ready to take over again.
    /// - PatchOld: the old slot gets the new image too, and is the standby from then on.
    ///
    /// Setting the former image again goes back in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateSpec>,

    /// How many revisions are kept, besides those in use; 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
}

/// The name of an object in the same namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalReference {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// One integration function: a configured behaviour behind HTTP on localhost.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.idempotency) != has(self.custom)", "exactly one of idempotency and custom must be set"))]
pub struct FunctionSpec {
    /// Name of the function, unique in an application. Containers find it at the address in
    /// `OUTRIGGER_<NAME>_URL`, the name in capitals with `_` for `-`.
    #[schemars(
        length(min = 1, max = 58),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,

    /// Port on the pod's loopback address; 15000 when absent. It must be free in the pods that use
    /// the function: a clash with a container's port or with another function is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1024, max = 65535))]
    pub port: Option<i32>,

    /// The function stores a document once per key, and answers a second one of the same key with
    /// the first. These parameters may be given, or replaced, by `configFrom` and by each
    /// application's own `parameters`; what counts is what they give together. Exactly one of
    /// `idempotency` and `custom` is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<IdempotencyParameters>,

    /// Parameters of a function of the image's own, which the image validates. `configFrom` and
    /// each application's `parameters` add to them. Exactly one of `idempotency` and `custom` is
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomParameters>,

    /// ConfigMaps and Secrets with more parameters. Each key is the name of a parameter and its
    /// value the parameter in JSON. Later sources win over earlier ones and over the parameters
    /// above; an application's own `parameters` win over all. A change is taken over in running
    /// pods, completely or not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub config_from: Option<Vec<ParameterSource>>,
}

impl FunctionSpec {
    /// The port, with its default.
    pub fn effective_port(&self) -> u16 {
        self.port
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(DEFAULT_FUNCTION_PORT)
    }
}

/// A source of parameters. Exactly one of its fields is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.configMapRef) != has(self.secretRef)", "exactly one of configMapRef and secretRef must be set"))]
pub struct ParameterSource {
    /// A ConfigMap of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<LocalReference>,
    /// A Secret of the namespace. It is mounted into the slots; the operator never reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

/// Who shares one running sidecar; `Pod` when absent.
///
/// - Pod: all containers of one pod. The slots are in that pod.
/// - Node: all applications of the namespace on one node. One function pod on each node with a
///   consumer holds the slots.
/// - Namespace: all applications of the namespace. A few function pods hold the slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sharing {
    /// All containers of one pod.
    #[default]
    Pod,
    /// All applications of the namespace on one node.
    Node,
    /// All applications of the namespace.
    Namespace,
}

/// What one application may use of a shared function pod. A request beyond them is refused with
/// 413 or 429, and touches no other application.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TenantLimits {
    /// Largest body of a request, in bytes; the functions' own limits hold besides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_body_bytes: Option<i64>,
    /// Requests that are answered at the same time; 100 when absent. Further ones wait their turn,
    /// as many again, and beyond that are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100000))]
    pub max_concurrent_requests: Option<i32>,
    /// Requests per second, with bursts of as many; without a limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub requests_per_second: Option<i32>,
}

/// How to run an image that is not built on the chassis.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.ports) || self.ports.all(p, self.ports.exists_one(q, q.name == p.name))", "container.ports[].name must be unique"))]
pub struct ForeignContainer {
    /// Replaces the image's entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub command: Option<Vec<String>>,
    /// Arguments of the entry point.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub args: Option<Vec<String>>,
    /// Environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub env: Option<Vec<ForeignVariable>>,
    /// What it listens on. The application's containers find each at the address in
    /// `OUTRIGGER_<NAME>_URL`, the name in capitals with `_` for `-`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub ports: Option<Vec<ForeignPort>>,
    /// Whether the image may write to its root file system; false when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writable_root_filesystem: Option<bool>,
}

/// An environment variable of an image that is not built on the chassis. Exactly one of `value` and
/// `secretKeyRef` is set.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.value) != has(self.secretKeyRef)", "exactly one of value and secretKeyRef must be set"))]
pub struct ForeignVariable {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The key of a Secret of the namespace that holds its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKey>,
}

/// A key of a Secret of the namespace.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A port of an image that is not built on the chassis.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ForeignPort {
    /// Its name, unique in an application among functions and ports.
    #[schemars(
        length(min = 1, max = 58),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// TCP port on the pod's loopback address.
    #[schemars(range(min = 1024, max = 65535))]
    pub port: i32,
}

/// Where functions store.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.postgresql)", "store.postgresql must be set"))]
pub struct Store {
    /// A PostgreSQL database (14 or later). The functions create their own tables, named
    /// `outrigger_…`, in the first schema of the user's search path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postgresql: Option<PostgresqlStore>,
}

/// CPU and memory of one slot.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SlotResources {
    /// What a slot is guaranteed, by resource name: `cpu`, `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What a slot may use at most, by resource name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// How a new image reaches running pods; see [`IntegrationSidecarSpec::update`].
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateSpec {
    /// See [`UpdateStrategy`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<UpdateStrategy>,

    /// How long the new image must serve a pod without a crash before the old slot, which is
    /// ready to take over until then, gets the new image too; in seconds, 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub soak_seconds: Option<i64>,

    /// Starts no further swap while true. A pod whose swap has begun is brought to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,

    /// How many pods may be disturbed at the same time: a number, or a percentage, rounded down but
    /// at least 1; 1 when absent. It holds for the pods of each application, and for all pods of the
    /// sidecar together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("type(self) == int ? int(self) >= 1 : string(self).matches('^([1-9][0-9]?|100)%$')", "update.maxUnavailable must be a number of at least 1, or a percentage from 1% to 100%"))]
    pub max_unavailable: Option<IntOrString>,

    /// How many pods keep their revision, the last ones by name: a number, or a percentage, rounded
    /// up; 0 when absent. A pod that is created meanwhile gets the former revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = ("type(self) == int ? int(self) >= 0 : string(self).matches('^([0-9][0-9]?|100)%$')", "update.partition must be a number of at least 0, or a percentage from 0% to 100%"))]
    pub partition: Option<IntOrString>,

    /// When a rollout goes back by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollback: Option<RollbackSpec>,
}

/// When a rollout goes back by itself. A revision that crashes or answers with errors is marked as
/// failed, and no further pod gets it, in any case.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackSpec {
    /// Whether pods that have a failed revision get the former one again; true when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub automatic: Option<bool>,
    /// By how many percentage points the share of answers with a 5xx status may exceed that of the
    /// old slots before them, judged over at least 100 requests in at least 2 pods or 20 % of the
    /// application's; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub error_ratio_percent: Option<i32>,
}

/// How running pods get a new image; `HotSwap` when absent, `InPlace` if `container` is set.
///
/// - HotSwap: the standby slot gets the new image, takes over listeners and connections from the
///   active one, and after the soak time the old slot follows. No container of the application
///   restarts, no connection closes, the pod stays Ready.
/// - InPlace: the sidecar's container is replaced in the pod. The application's containers run on;
///   the sidecar is away in between, and the pod is not Ready for about a second.
/// - Recreate: pods are evicted one after another, and their successors get the new image.
/// - Staged: running pods keep their image, and pods that are created from now on get the new one.
///   `kubectl outrigger rollout resume` turns it into a hot swap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateStrategy {
    /// One slot after the other, the active one being passed on in between.
    #[default]
    HotSwap,
    /// The container is replaced, with a gap.
    InPlace,
    /// Pods are replaced through eviction.
    Recreate,
    /// Only new pods get the new image until the rollout is resumed.
    Staged,
}

/// Annotation of an IntegrationSidecar whose update strategy is `Staged`: the name of the revision
/// that running pods are to get as well. `kubectl outrigger rollout resume` writes it.
pub const RESUME_ANNOTATION: &str = "outrigger.dev/resume";

/// The update rules with their defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveUpdate {
    /// See [`UpdateSpec::strategy`].
    pub strategy: UpdateStrategy,
    /// See [`UpdateSpec::soak_seconds`].
    pub soak_seconds: i64,
    /// See [`UpdateSpec::paused`].
    pub paused: bool,
    /// See [`UpdateSpec::max_unavailable`].
    pub max_unavailable: Share,
    /// See [`UpdateSpec::partition`].
    pub partition: Share,
    /// See [`RollbackSpec::automatic`].
    pub rolls_back: bool,
    /// See [`RollbackSpec::error_ratio_percent`].
    pub error_ratio_percent: i32,
}

impl IntegrationSidecarSpec {
    /// The update rules with their defaults filled in.
    pub fn effective_update(&self) -> EffectiveUpdate {
        let update = self.update.clone().unwrap_or_default();
        let rollback = update.rollback.unwrap_or_default();
        let fallback = match self.container {
            Some(_) => UpdateStrategy::InPlace,
            None => UpdateStrategy::HotSwap,
        };
        let share = |found: Option<IntOrString>| found.as_ref().and_then(Share::read);
        EffectiveUpdate {
            strategy: update.strategy.unwrap_or(fallback),
            soak_seconds: update.soak_seconds.unwrap_or(HOT_SWAP_SOAK_SECONDS),
            paused: update.paused.unwrap_or(false),
            max_unavailable: share(update.max_unavailable).unwrap_or(Share::Number(1)),
            partition: share(update.partition).unwrap_or(Share::Number(0)),
            rolls_back: rollback.automatic.unwrap_or(true),
            error_ratio_percent: rollback.error_ratio_percent.unwrap_or(ERROR_RATIO_PERCENT),
        }
    }

    /// Who shares one running sidecar, with its default.
    pub fn effective_sharing(&self) -> Sharing {
        self.sharing.unwrap_or_default()
    }

    /// The revision history limit, with its default.
    pub fn effective_revision_history_limit(&self) -> usize {
        self.revision_history_limit
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(10)
    }
}

/// What the operator found and did.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IntegrationSidecarStatus {
    /// The generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` always; `Reconciling` and `Stalled` while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
    /// The revision that pods have, and go back to if the next one fails. During a rollout it is
    /// the former one, until every pod has the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<Revision>,
    /// The revision that new pods get, while it differs from the current one: with the strategies
    /// `Staged` and `Recreate`, once the image was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_pod_revision: Option<Revision>,
    /// The revision of the spec, while it differs from the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<Revision>,
    /// Numbers of pods with this sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<SidecarPods>,
    /// The pods that are being swapped, sorted by name, the first 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swaps: Vec<PodSwap>,
    /// Function pods, for `sharing: Node` and `Namespace`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_pods: Option<FunctionPods>,
    /// The IntegratedApps that use this sidecar, sorted, the first 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
}

/// One image of a sidecar, kept as a ControllerRevision.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Revision {
    /// Name of the ControllerRevision.
    pub name: String,
    /// The image as written in the spec.
    pub image: String,
    /// The digest that the image had in its preflight, `sha256:…`; absent until then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// Numbers of pods with a sidecar.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SidecarPods {
    /// Pods with this sidecar that have not ended.
    pub total: i32,
    /// Those whose slots both have the revision of the spec.
    pub updated: i32,
    /// Those that keep their revision because their Job would count a slot's restart as a failure
    /// (`restartPolicy: OnFailure`).
    pub job_counts_restarts: i32,
}

/// Numbers of function pods.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionPods {
    /// Those that there are to be.
    pub desired: i32,
    /// Those that serve.
    pub ready: i32,
}

/// A swap in progress.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodSwap {
    /// The pod.
    pub pod: String,
    /// PatchStandby, Warm, Handover, Soak or PatchOld.
    pub phase: String,
    /// When the phase began, RFC 3339.
    pub since: String,
}
