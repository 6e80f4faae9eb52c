use std::collections::BTreeSet;

use kube::ResourceExt;
use outrigger_plan::ApplicationPlan;
use outrigger_rollout::Application;

use super::read::{Found, FoundApplication};

/// What the hash in a document's key is followed by.
const DOCUMENT: &str = ".json";

/// The applications with their plans. One that is not valid keeps its pods as they are.
pub(super) fn validate(found: &Found) -> Vec<Application> {
    let sidecar = found.sidecar.name_any();
    let applications = found.applications.iter();
    applications
        .map(|application| validated(application, &sidecar))
        .collect()
}

fn validated(found: &FoundApplication, sidecar: &str) -> Application {
    let FoundApplication {
        application,
        referenced,
        documents,
    } = found;
    let keys = documents
        .iter()
        .filter_map(|documents| documents.data.as_ref())
        .flat_map(|data| data.keys());
    let documents: BTreeSet<_> = keys
        .filter_map(|key| key.strip_suffix(DOCUMENT))
        .map(str::to_owned)
        .collect();
    Application {
        name: application.name_any(),
        sidecar: sidecar.to_owned(),
        plan: ApplicationPlan::new(application, referenced).map_err(|error| error.to_string()),
        documents,
    }
}
