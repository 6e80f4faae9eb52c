//! The control channel between the operator and the slots of a sidecar.
//!
//! The operator writes an [`Order`] (a pod annotation) and a [`Document`] (a ConfigMap key named by
//! its content hash); both are files in every slot. A slot answers with a [`Report`] on its admin
//! port. This crate holds those three forms, the places where they are found ([`layout`]) and the
//! parameters of each function ([`parameters`]); it performs no I/O.

mod document;
mod hash;
pub mod layout;
mod order;
pub mod parameters;
mod report;
mod slot;

pub use document::{
    AnyDocument, Application, Document, FunctionDocument, FunctionKind, Layer, Limits,
    SharedDocument, TenantDocument, Tenants, Values,
};
pub use hash::content_hash;
pub use order::{
    Answered, InvalidOrder, MAX_TERM_STEP, Notes, Order, Pair, PerSlot, Phase, Soaked,
};
pub use report::{
    ConfigurationReport, HandoverReport, MOST_TENANTS_TOLD, Refusal, Report, Role, TrafficReport,
    told_of_tenants,
};
pub use slot::{Slot, UnknownSlot};
