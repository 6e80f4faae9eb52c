//! An application that uses a sidecar.

use std::collections::BTreeSet;

use outrigger_plan::{ApplicationPlan, SidecarPlan};

/// An application that uses the sidecar.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Name of the sidecar.
    pub sidecar: String,
    /// Its plan, or why it is not valid.
    pub plan: Result<ApplicationPlan, String>,
    /// Hashes of the documents that its slots can find.
    pub documents: BTreeSet<String>,
}

impl Application {
    /// The plan, and the part of it that is about the sidecar; `None` if there is no such.
    pub fn plans(&self) -> Option<(&ApplicationPlan, &SidecarPlan)> {
        let plan = self.plan.as_ref().ok()?;
        let mut sidecars = plan.sidecars.iter();
        let sidecar = sidecars.find(|sidecar| sidecar.name() == self.sidecar)?;
        Some((plan, sidecar))
    }

    /// Hash of the document that slots are to use, if they can find it.
    pub fn config(&self) -> Option<&str> {
        let hash = self.plans()?.1.order_config()?;
        let is_found = hash.is_empty() || self.documents.contains(hash);
        is_found.then_some(hash)
    }
}
