//! Who uses a sidecar in a pod.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout::{APPLICATION_LABEL, SHARED_LABEL};
use outrigger_injection::Resident;
use outrigger_plan::SharedPlan;

use crate::Application;

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

/// The consumers of a sidecar, with what it is to be in their pods.
#[derive(Clone, Debug)]
pub struct Consumers<'a> {
    applications: BTreeMap<&'a str, &'a Application>,
    shared: Option<&'a SharedPlan>,
}

impl<'a> Consumers<'a> {
    /// The applications that use a sidecar, and its plan for function pods if it is shared and the
    /// pods can find the plan's document.
    pub fn new(applications: &'a [Application], shared: Option<&'a SharedPlan>) -> Consumers<'a> {
        let applications = applications.iter();
        Consumers {
            applications: applications
                .map(|application| (application.name.as_str(), application))
                .collect(),
            shared,
        }
    }

    /// What the sidecar is to be in the pods of a consumer; `None` while that is not valid.
    pub fn resident(&self, consumer: &Consumer) -> Option<Resident<'a>> {
        match consumer {
            Consumer::Application(name) => {
                let (plan, sidecar) = self.applications.get(name.as_str())?.plans()?;
                Resident::of(plan, sidecar)
            }
            Consumer::Shared => self.shared.map(Resident::of_function_pods),
        }
    }

    /// Whether a consumer uses the sidecar, and what that is to be in its pods cannot be told now.
    pub(crate) fn is_unknown(&self, consumer: &Consumer) -> bool {
        match consumer {
            Consumer::Application(name) => {
                let application = self.applications.get(name.as_str());
                application.is_some_and(|application| application.plan.is_err())
            }
            Consumer::Shared => self.shared.is_none(),
        }
    }

    /// What the orders of a consumer's pods are to name as configuration, if the pods can find it.
    pub(crate) fn config(&self, consumer: &Consumer) -> Option<&'a str> {
        match consumer {
            Consumer::Application(name) => self.applications.get(name.as_str())?.config(),
            Consumer::Shared => self.shared.map(|plan| plan.document_hash.as_str()),
        }
    }

    /// The first one that is valid.
    pub(crate) fn first(&self) -> Option<Consumer> {
        let names = self.applications.keys();
        let applications = names.map(|name| Consumer::Application((*name).to_owned()));
        let mut all = applications.chain([Consumer::Shared]);
        all.find(|consumer| self.resident(consumer).is_some())
    }

    /// The applications, sorted by name.
    pub(crate) fn applications(&self) -> impl Iterator<Item = &'a Application> + use<'a, '_> {
        self.applications.values().copied()
    }
}
