//! What an application's sidecars are to be: pure decisions shared by the injector and the controllers.
//!
//! [`adopting`] says which application a pod belongs to; [`ApplicationPlan::new`] validates an
//! application with everything that it refers to. Nothing here talks to the API server.

mod adoption;
mod application;
mod error;
mod revision;
mod selector;
mod shared;

pub use adoption::{Adoption, Owners, adopting};
pub use application::{ApplicationPlan, FunctionPlan, Referenced, SidecarPlan, config_map_names};
pub use error::InvalidApplication;
pub use revision::{revision_for_new_pod, revision_name, slot_image};
pub use shared::SharedPlan;
