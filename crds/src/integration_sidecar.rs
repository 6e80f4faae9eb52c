use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use outrigger_control::layout::DEFAULT_FUNCTION_PORT;
use outrigger_control::parameters::{IdempotencyParameters, PostgresqlStore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `update.soakSeconds` when it is absent.
pub const HOT_SWAP_SOAK_SECONDS: i64 = 10;

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
    validation = ("self.metadata.name.size() <= 58 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "metadata.name must be at most 58 characters of a-z, 0-9 and '-', and start with a letter: containers and annotations are named after it")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = ("self.functions.all(f, self.functions.exists_one(g, g.name == f.name))", "functions[].name must be unique"),
    validation = ("!self.functions.exists(f, has(f.idempotency)) || (has(self.store) && has(self.store.postgresql))", "a function of kind idempotency needs store.postgresql"),
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

    /// The functions that the sidecar hosts.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub functions: Vec<FunctionSpec>,

    /// See [`Sharing`], whose text stands in the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sharing: Option<Sharing>,

    /// Where the functions of this sidecar store. A function of kind `idempotency` needs
    /// `postgresql`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<Store>,

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
    /// after the other goes through five phases, which `status.swap` shows:
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
    /// application's own `parameters`; what counts is what they give together.
    pub idempotency: IdempotencyParameters,

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
/// - Pod: all containers of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Sharing {
    /// All containers of one pod.
    #[default]
    Pod,
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
}

/// How a pod's slots get a new image; `HotSwap` when absent.
///
/// - HotSwap: the standby slot gets the new image, takes over listeners and connections from the
///   active one, and after the soak time the old slot follows. No container of the application
///   restarts, no connection closes, the pod stays Ready.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateStrategy {
    /// One slot after the other, the active one being passed on in between.
    #[default]
    HotSwap,
}

/// The update rules with their defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EffectiveUpdate {
    /// See [`UpdateSpec::strategy`].
    pub strategy: UpdateStrategy,
    /// See [`UpdateSpec::soak_seconds`].
    pub soak_seconds: i64,
    /// See [`UpdateSpec::paused`].
    pub paused: bool,
}

impl IntegrationSidecarSpec {
    /// The update rules with their defaults filled in.
    pub fn effective_update(&self) -> EffectiveUpdate {
        let update = self.update.clone().unwrap_or_default();
        EffectiveUpdate {
            strategy: update.strategy.unwrap_or_default(),
            soak_seconds: update.soak_seconds.unwrap_or(HOT_SWAP_SOAK_SECONDS),
            paused: update.paused.unwrap_or(false),
        }
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
    /// The revision that new pods get. During a rollout it is the former one, until every pod has
    /// the new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_revision: Option<Revision>,
    /// The revision of the spec, while it differs from the current one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_revision: Option<Revision>,
    /// Numbers of pods with this sidecar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pods: Option<SidecarPods>,
    /// The pod that is being swapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swap: Option<PodSwap>,
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
