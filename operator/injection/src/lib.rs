//! What sidecars add to a pod: a pure function from pod to patch, and preflight pods.
//!
//! [`inject`] gives a pod its sidecars when it is created; [`preflight_pod`] tries an image before
//! it reaches any pod; [`function_pod`] makes a pod of slots that several applications share. The rest reads what a pod already carries: its orders, its slots, and what
//! would differ if it were created now. Nothing here talks to the API server or asks for the time.

mod annotations;
mod carried;
mod conflicts;
mod credentials;
mod difference;
mod foreign;
mod function_pod;
mod given;
mod inject;
mod namespace;
mod patch;
mod preflight;
mod qos;
mod recreate;
mod refusal;
mod resident;
mod resources;
mod settings;
mod slot;
mod volumes;

pub use annotations::{ENVIRONMENT_ANNOTATION, RESOURCES_ANNOTATION};
pub use carried::{application, container_name, orders, slot_image, slot_index, slot_status};
pub use function_pod::{
    FunctionPod, HOLDER_COMMAND, HOLDER_CONTAINER, Place, function_pod, shared_service,
};
pub use inject::{disown, inject};
pub use namespace::NamespaceRules;
pub use preflight::{
    COPY_COMMAND, PREFLIGHT_CONTAINER, PREFLIGHT_DEADLINE_SECONDS, PULLED_COMMAND, Trial,
    preflight_name, preflight_pod,
};
pub use qos::{QosClass, qos_class};
pub use recreate::requires_recreate;
pub use refusal::Refusal;
pub use resident::{Resident, SINCE_CREATION};
pub use settings::Settings;
