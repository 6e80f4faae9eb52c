use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::ResourceExt;
use outrigger_api::{IntegratedApp, IntegrationSidecar, Sharing};
use outrigger_control::layout;
use outrigger_lookup::LookupError;
use outrigger_plan::Referenced;

use super::consumers::{Consumer, consumers};
use super::watched::Watched;
use crate::relations::{is_owned, users};

/// Everything that a decision about a shared sidecar rests on.
pub(super) struct Found {
    pub(super) sidecar: Arc<IntegrationSidecar>,
    /// The applications that use it, sorted by name.
    pub(super) applications: Vec<Arc<IntegratedApp>>,
    /// What those refer to.
    pub(super) referenced: Referenced,
    /// The pods that use it.
    pub(super) consumers: Vec<Consumer>,
    /// Its function pods, sorted by name.
    pub(super) pods: Vec<Arc<Pod>>,
    /// If it is the sidecar's own.
    pub(super) config_map: Option<Arc<ConfigMap>>,
    /// If it is the sidecar's own.
    pub(super) service: Option<Arc<Service>>,
}

impl Found {
    /// Whether anything is to be there: somebody may come, or is there still.
    pub(super) fn is_needed(&self) -> bool {
        let is_shared = self.sidecar.spec.effective_sharing() != Sharing::Pod;
        is_shared && !self.applications.is_empty()
            || !self.consumers.is_empty()
            || !self.pods.is_empty()
    }
}

/// Whether a pod is one of a sidecar's function pods.
pub(super) fn is_function_pod(pod: &Pod, sidecar: &IntegrationSidecar) -> bool {
    let shared = pod.labels().get(layout::SHARED_LABEL);
    shared == Some(&sidecar.name_any()) && is_owned(pod, sidecar)
}

pub(super) async fn read(
    sidecar: &Arc<IntegrationSidecar>,
    watched: &Watched,
) -> Result<Found, LookupError> {
    let namespace = sidecar.namespace().unwrap_or_default();
    let name = sidecar.name_any();
    let context = &watched.context;

    let applications = users(
        context.lookup.applications().in_namespace(&namespace),
        &name,
    );
    let referenced = context
        .lookup
        .referenced(&namespace, applications.iter().map(AsRef::as_ref))
        .await?;

    let all = context.pods.in_namespace(&namespace);
    let consumers = consumers(all.iter().map(AsRef::as_ref), &namespace, &name);
    let mut pods = context.function_pods.in_namespace(&namespace);
    pods.retain(|pod| is_function_pod(pod, sidecar));
    pods.sort_by_key(|pod| pod.name_any());
    let config_map = layout::shared_config_map_name(&name);
    let config_map = context.config_maps.get(&namespace, &config_map);
    let service = layout::shared_service(&name);
    let service = watched.services.get(&namespace, &service);
    Ok(Found {
        sidecar: Arc::clone(sidecar),
        applications,
        referenced,
        consumers,
        pods,
        config_map: config_map.filter(|found| is_owned(found.as_ref(), sidecar)),
        service: service.filter(|found| is_owned(found.as_ref(), sidecar)),
    })
}
