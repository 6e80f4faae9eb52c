//! The Kubernetes API of Outrigger: one module per kind.
//!
//! The doc comments of the fields are what `kubectl explain` prints.

// KubeSchema repeats each struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

pub mod conditions;
mod credentials;
mod dataset;
mod integrated_app;
mod integration_sidecar;
mod manifest;
mod share;

pub use credentials::{Credential, Credentials, ServiceAccountToken, TOKEN_EXPIRATION_SECONDS};
pub use dataset::{
    ClaimsSource, Dataset, DatasetProblem, DatasetSpec, DatasetStatus, HdfsSource, HdfsTls,
    MAX_FILES, MOST_LISTED, NodeBytes, NodeNames, NodeNamesFrom, REFRESH_SECONDS,
    REQUESTS_PER_SECOND, Refresh,
};
pub use integrated_app::{
    ApplicationPods, AvoidedNode, BIND_TIMEOUT_SECONDS, DataHint, FunctionParameters,
    InjectedSidecar, IntegratedApp, IntegratedAppSpec, IntegratedAppStatus, Locality, LocalityMode,
    PlacedPod, PlacementStatus, RELAX_AFTER_SECONDS, Replacement, SidecarUse, Split,
    THRESHOLD_BYTES, UnixSocket, WaitingPod, WorkloadReference,
};
pub use integration_sidecar::{
    ERROR_RATIO_PERCENT, EffectiveUpdate, FUNCTION_POD_REPLICAS, ForeignContainer, ForeignPort,
    ForeignVariable, FunctionPods, FunctionSpec, HOT_SWAP_SOAK_SECONDS, IntegrationSidecar,
    IntegrationSidecarSpec, IntegrationSidecarStatus, LocalReference, MAX_SHARED_SIDECAR_NAME,
    ParameterSource, PodSwap, RESUME_ANNOTATION, Revision, RollbackSpec, SecretKey, Sharing,
    SidecarPods, SlotResources, Store, TenantLimits, UpdateSpec, UpdateStrategy,
};
pub use manifest::{Manifest, manifests};
pub use outrigger_control::parameters::{CustomParameters, IdempotencyParameters, PostgresqlStore};
pub use share::Share;

/// API group of every kind.
pub const GROUP: &str = "outrigger.dev";
/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "outrigger.dev/operator";
