//! What an application's sidecars are to be: pure decisions shared by the injector and the controllers.
//!
//! [`adopting`] says which application a pod belongs to; [`ApplicationPlan::new`] validates an
//! application with everything that it refers to; [`SharedPlan::new`] says what a sidecar that several
//! applications share is to be. Nothing here talks to the API server.

mod adoption;
mod application;
mod clashes;
mod document;
mod error;
mod revision;
mod room;
mod selector;
mod shared;
mod sidecar;

pub use adoption::{Adoption, ControllerKind, Owners, adopting};
pub use application::{ApplicationPlan, Referenced, config_map_names};
pub use error::InvalidApplication;
pub use revision::{revision_for_new_pod, revision_name, slot_image};
pub use room::{LeftOut, MOST_DOCUMENT_BYTES};
pub use shared::SharedPlan;
pub use sidecar::{Form, FunctionPlan, SidecarPlan, SlotsPlan};
