use k8s_openapi::api::core::v1::{Service, ServicePort};
use outrigger_injection::shared_service;
use outrigger_plan::SharedPlan;

use super::documents::{has_metadata, owners};
use crate::context::{MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// The policy that leads to no other node than the client's.
const LOCAL: &str = "Local";

/// The Service as it is to be; `None` if it stands. While function pods of the newest shape are
/// lacking, it goes on to lead to the former ones: it keeps their ports, and leads to other nodes
/// than the client's. Towards them it is opened at once.
pub(super) fn service(plan: &SharedPlan, found: Option<&Service>, lacks: bool) -> Option<Service> {
    let mut wanted = shared_service(plan);
    let former = found.and_then(|found| found.spec.as_ref());
    if let (Some(spec), Some(former)) = (&mut wanted.spec, former.filter(|_| lacks)) {
        spec.ports.clone_from(&former.ports);
        if spec.internal_traffic_policy.as_deref() == Some(LOCAL) {
            spec.internal_traffic_policy
                .clone_from(&former.internal_traffic_policy);
        }
    }
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

#[cfg(test)]
mod tests {
    use outrigger_api::Sharing;
    use serde_json::json;

    use super::*;

    fn plan(sharing: Sharing, port: u16) -> SharedPlan {
        let sidecar = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
            "metadata": {"name": "orders", "namespace": "store", "uid": "u"},
            "spec": {
                "image": "sidecar:1", "sharing": sharing,
                "functions": [{"name": "once", "port": port, "custom": {}}],
            },
        });
        let sidecar = serde_json::from_value(sidecar).unwrap();
        SharedPlan::new(&sidecar, [], Vec::new()).unwrap()
    }

    fn shown(service: Option<Service>) -> (String, i32) {
        let spec = service.unwrap().spec.unwrap();
        let ports = spec.ports.unwrap();
        (spec.internal_traffic_policy.unwrap(), ports[0].port)
    }

    #[test]
    fn ports_change_when_pods_of_the_new_shape_serve() {
        let former = service(&plan(Sharing::Node, 15000), None, true);
        let newer = plan(Sharing::Node, 15005);
        assert_eq!(service(&newer, former.as_ref(), true), None);
        let changed = service(&newer, former.as_ref(), false);
        assert_eq!(shown(changed), ("Local".to_owned(), 15005));
    }

    #[test]
    fn traffic_stays_on_nodes_when_each_of_them_has_a_pod_and_leaves_them_at_once() {
        let (wide, narrow) = (plan(Sharing::Namespace, 15000), plan(Sharing::Node, 15000));
        let former = service(&wide, None, true);
        assert_eq!(service(&narrow, former.as_ref(), true), None);
        let narrowed = service(&narrow, former.as_ref(), false);
        assert_eq!(shown(narrowed.clone()), ("Local".to_owned(), 15000));
        let widened = service(&wide, narrowed.as_ref(), true);
        assert_eq!(shown(widened), ("Cluster".to_owned(), 15000));
    }
}
