use kube::ResourceExt;
use outrigger_api::IntegratedApp;
use outrigger_control::layout;
use outrigger_plan::ApplicationPlan;
use outrigger_rollout::Application;

use super::read::Found;

/// What the hash in a document's key is followed by.
const DOCUMENT: &str = ".json";

/// The applications with their plans. One that is not valid keeps its pods as they are.
pub(super) fn validate(found: &Found) -> Vec<Application> {
    let applications = found.applications.iter();
    applications
        .map(|application| validated(found, application))
        .collect()
}

fn validated(found: &Found, application: &IntegratedApp) -> Application {
    let (name, sidecar) = (application.name_any(), found.sidecar.name_any());
    let config_map = layout::config_map_name(&name, &sidecar);
    let mut documents = found.documents.iter();
    let documents = documents.find(|documents| documents.name_any() == config_map);
    let files = documents
        .iter()
        .filter_map(|documents| documents.data.as_ref())
        .flat_map(|data| data.keys());
    Application {
        documents: files
            .filter_map(|file| file.strip_suffix(DOCUMENT))
            .map(str::to_owned)
            .collect(),
        plan: ApplicationPlan::new(application, &found.referenced)
            .map_err(|error| error.to_string()),
        name,
        sidecar,
    }
}
