//! What belongs to an IntegrationSidecar: the applications that use it, and the objects that it owns.

use std::sync::Arc;

use kube::ResourceExt;
use outrigger_api::{IntegratedApp, IntegrationSidecar};

/// Those of a namespace's applications that use a sidecar and are to stay, sorted by name.
pub(crate) fn users(
    mut applications: Vec<Arc<IntegratedApp>>,
    sidecar: &str,
) -> Vec<Arc<IntegratedApp>> {
    applications.retain(|application| {
        let mut used = application.spec.sidecars.iter();
        application.metadata.deletion_timestamp.is_none() && used.any(|usage| usage.name == sidecar)
    });
    applications.sort_by_key(|application| application.name_any());
    applications
}

/// Whether an object is a sidecar's own, and not of one that had its name before.
pub(crate) fn is_owned(object: &impl ResourceExt, sidecar: &IntegrationSidecar) -> bool {
    let mut owners = object.owner_references().iter();
    owners.any(|owner| Some(&owner.uid) == sidecar.metadata.uid.as_ref())
}
