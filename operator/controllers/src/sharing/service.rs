use k8s_openapi::api::core::v1::{Service, ServicePort};
use outrigger_injection::shared_service;
use outrigger_plan::SharedPlan;

use super::documents::{has_metadata, owners};
use crate::context::{MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// The Service as it is to be; `None` if it stands.
pub(super) fn service(plan: &SharedPlan, found: Option<&Service>) -> Option<Service> {
    let mut wanted = shared_service(plan);
    let labels = [(MANAGED_BY_LABEL, MANAGER), (SIDECAR_LABEL, plan.name())];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    wanted.metadata.labels = Some(labels.into());
    wanted.metadata.owner_references = Some(owners(&plan.sidecar));
    let stands = found.is_some_and(|found| stands(found, &wanted));
    (!stands).then_some(wanted)
}

/// Whether a Service has all that is wanted, whatever the API server added.
fn stands(found: &Service, wanted: &Service) -> bool {
    let (Some(spec), Some(wanted_spec)) = (&found.spec, &wanted.spec) else {
        return false;
    };
    let ports = |ports: Option<&Vec<ServicePort>>| -> Vec<_> {
        let ports = ports.into_iter().flatten();
        ports
            .map(|port| (port.name.clone(), port.port, port.target_port.clone()))
            .collect()
    };
    has_metadata(&found.metadata, &wanted.metadata)
        && spec.selector == wanted_spec.selector
        && spec.internal_traffic_policy == wanted_spec.internal_traffic_policy
        && ports(spec.ports.as_ref()) == ports(wanted_spec.ports.as_ref())
}
