//! The admission server around the pod injector, its certificate and its configuration.
//!
//! Every replica of the operator runs [`Certificates::follow`] and [`serve`]; the leader also runs
//! [`keep_certificate`] and [`keep_configuration`].

mod admission;
mod applications;
mod certificate;
mod configuration;
mod gate;
mod metrics;
mod request;
mod server;

pub use admission::{Injector, Verdict};
pub use applications::Applications;
pub use certificate::{
    CERTIFICATE_SECRET, CertificateError, Certificates, Decision, Material, decide,
    keep_certificate,
};
pub use configuration::{
    CONFIGURATION_NAME, ConfigurationSettings, FailurePolicy, WEBHOOK_PATH, keep_configuration,
};
pub use metrics::Metrics;
pub use server::{ServeOptions, serve};
