//! The Kubernetes API of Outrigger: one module per kind.
//!
//! The doc comments of the fields are what `kubectl explain` prints.

// KubeSchema repeats each struct inside a function, where `pub` reaches nobody.
#![allow(unreachable_pub)]

pub mod conditions;
mod integrated_app;
mod integration_sidecar;
mod manifest;

pub use integrated_app::{
    ApplicationPods, FunctionParameters, InjectedSidecar, IntegratedApp, IntegratedAppSpec,
    IntegratedAppStatus, SidecarUse, WorkloadReference,
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
