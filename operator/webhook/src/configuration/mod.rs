//! The MutatingWebhookConfiguration, which the leader keeps as it is to be.

mod desired;
mod keep;

pub use desired::{CONFIGURATION_NAME, ConfigurationSettings, FailurePolicy, WEBHOOK_PATH};
pub use keep::keep_configuration;
