//! Who uses a sidecar in a pod.

use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout::{APPLICATION_LABEL, SHARED_LABEL};

/// Who uses a sidecar in a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Consumer {
    /// The application of the pod, by name.
    Application(String),
    /// All applications that share it: the pod is a function pod.
    Shared,
}

impl Consumer {
    /// Reads it from a pod's labels; `None` if the pod carries no sidecar of ours.
    pub fn read(pod: &Pod, sidecar: &str) -> Option<Consumer> {
        let labels = pod.labels();
        if let Some(application) = labels.get(APPLICATION_LABEL) {
            return Some(Consumer::Application(application.clone()));
        }
        let shared = labels.get(SHARED_LABEL)?;
        (shared == sidecar).then_some(Consumer::Shared)
    }

    /// The application's name, if it is one.
    pub fn application(&self) -> Option<&str> {
        match self {
            Consumer::Application(name) => Some(name),
            Consumer::Shared => None,
        }
    }
}

impl fmt::Display for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Consumer::Application(name) => write!(f, "application {name}"),
            Consumer::Shared => f.write_str("all applications that share it"),
        }
    }
}
