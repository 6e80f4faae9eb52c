//! The Kubernetes API of Outrigger: one module per kind.
//!
//! The doc comments of the fields are what `kubectl explain` prints.

// KubeSchema repeats each struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

pub mod conditions;
mod dataset;
mod integrated_app;
mod integration_sidecar;
mod manifest;

pub use dataset::{
    ClaimsSource, Dataset, DatasetProblem, DatasetSpec, DatasetStatus, HdfsSource, HdfsTls,
    MAX_FILES, MOST_LISTED, NodeBytes, NodeNames, NodeNamesFrom, REFRESH_SECONDS,
    REQUESTS_PER_SECOND, Refresh,
};
pub use integrated_app::{
    ApplicationPods, AvoidedNode, BIND_TIMEOUT_SECONDS, DataHint, FunctionParameters,
    InjectedSidecar, IntegratedApp, IntegratedAppSpec, IntegratedAppStatus, Locality, LocalityMode,
    PlacedPod, PlacementStatus, RELAX_AFTER_SECONDS, SidecarUse, Split, THRESHOLD_BYTES,
    WaitingPod, WorkloadReference,
};
pub use integration_sidecar::{
    EffectiveUpdate, FunctionSpec, HOT_SWAP_SOAK_SECONDS, IntegrationSidecar,
    IntegrationSidecarSpec, IntegrationSidecarStatus, LocalReference, ParameterSource, PodSwap,
    Revision, Sharing, SidecarPods, SlotResources, Store, UpdateSpec, UpdateStrategy,
};
pub use manifest::{Manifest, manifests};
pub use outrigger_control::parameters::{IdempotencyParameters, PostgresqlStore};

/// API group of every kind.
pub const GROUP: &str = "outrigger.dev";
/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "outrigger.dev/operator";
