//! Documents whose application is gone.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use outrigger_control::layout::APPLICATION_LABEL;
use outrigger_rollout::carriers;

use super::read::Found;

/// The ConfigMaps that nobody needs: their application is gone, and no pod carries its sidecar.
pub(super) fn unused(found: &Found) -> Vec<&ConfigMap> {
    let pods = found.pods.iter().map(AsRef::as_ref);
    let (pods, wrong) = carriers(pods, &found.sidecar.name_any());
    let is_needed = |application: &String| {
        // Whose a pod is that cannot be understood is not known.
        found.existing.contains(application)
            || !wrong.is_empty()
            || pods
                .iter()
                .any(|pod| pod.consumer.application() == Some(application))
    };
    let documents = found.documents.iter().map(Arc::as_ref);
    documents
        .filter(|documents| {
            let application = documents.labels().get(APPLICATION_LABEL);
            application.is_some_and(|application| !is_needed(application))
        })
        .collect()
}
