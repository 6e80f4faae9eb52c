use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort};
use outrigger_control::layout;
use outrigger_injection::shared_service;
use outrigger_plan::SharedPlan;

use super::consumers::Consumer;
use super::documents::{has_metadata, owners};
use super::pods::{Change, SHAPE};
use crate::context::{MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// The policy that leads to no other node than the client's.
const LOCAL: &str = "Local";

/// The Service as it is to be; `None` if it stands.
///
/// It leads to function pods of one shape, by a label. While a place that former ones serve lacks
/// new ones, it goes on to lead to those and to their ports. While any place lacks new ones it leads to
/// other nodes than the client's, if it does; towards them it is opened at once.
pub(super) fn service(
    plan: &SharedPlan,
    shape: &str,
    consumers: &[Consumer],
    found: Option<&Service>,
    pods: &Change,
) -> Option<Service> {
    let mut wanted = shared_service(plan);
    let former = found.and_then(|found| found.spec.as_ref());
    if let Some(spec) = &mut wanted.spec {
        let selector = spec.selector.get_or_insert_default();
        selector.insert(SHAPE.to_owned(), shape.to_owned());
        if let Some(former) = former.filter(|_| !pods.holding.is_empty()) {
            spec.selector.clone_from(&former.selector);
            spec.ports.clone_from(&former.ports);
        }
        let policy = spec.internal_traffic_policy.as_deref();
        if let Some(former) = former.filter(|_| pods.lacks && policy == Some(LOCAL)) {
            spec.internal_traffic_policy
                .clone_from(&former.internal_traffic_policy);
        }
        let ports = spec.ports.get_or_insert_default();
        ports.extend(other_ports(ports, consumers));
    }
    let labels = [(MANAGED_BY_LABEL, MANAGER), (SIDECAR_LABEL, plan.name())];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    wanted.metadata.labels = Some(labels.into());
    wanted.metadata.owner_references = Some(owners(&plan.sidecar));
    let stands = found.is_some_and(|found| stands(found, &wanted));
    (!stands).then_some(wanted)
}

/// Ports that consumers were told of when a function had another one: they lead to where it is.
fn other_ports(ports: &[ServicePort], consumers: &[Consumer]) -> Vec<ServicePort> {
    let mut others = BTreeMap::new();
    for (variable, number) in consumers.iter().flat_map(|consumer| &consumer.calls) {
        let number = i32::from(*number);
        if ports.iter().any(|port| port.port == number) {
            continue;
        }
        let function = ports.iter().find(|port| {
            let name = port.name.as_deref();
            name.map(layout::function_url_variable).as_ref() == Some(variable)
        });
        let other = function.map(|function| ServicePort {
            name: Some(number.to_string()),
            port: number,
            ..function.clone()
        });
        others.extend(other.map(|other| (number, other)));
    }
    others.into_values().collect()
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
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    use outrigger_api::Sharing;
    use serde_json::json;

    use super::*;
    use crate::sharing::pods::Spot;

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

    fn change(lacks: bool, holds: bool) -> Change {
        Change {
            lacks,
            holding: holds.then_some(Spot::Anywhere).into_iter().collect(),
            ..Change::default()
        }
    }

    fn caller(port: u16) -> Consumer {
        Consumer {
            application: "shop".to_owned(),
            node: None,
            addresses: Vec::new(),
            calls: vec![("OUTRIGGER_ONCE_URL".to_owned(), port)],
        }
    }

    /// Shape, policy, and ports with where they lead.
    fn shown(service: Option<&Service>) -> (String, String, Vec<(i32, i32)>) {
        let spec = service.unwrap().spec.clone().unwrap();
        let ports = spec.ports.unwrap().into_iter();
        let target = |port: &ServicePort| match port.target_port {
            Some(IntOrString::Int(number)) => number,
            _ => panic!("{port:?}"),
        };
        (
            spec.selector.unwrap()[SHAPE].clone(),
            spec.internal_traffic_policy.unwrap(),
            ports.map(|port| (port.port, target(&port))).collect(),
        )
    }

    #[test]
    fn it_goes_over_to_pods_of_the_new_shape_and_callers_keep_their_ports() {
        let (local, callers) = ("Local".to_owned(), [caller(15000)]);
        let (old, newer) = (plan(Sharing::Node, 15000), plan(Sharing::Node, 15005));
        let former = service(&old, "a", &callers, None, &change(true, false));
        let held = change(true, true);
        assert_eq!(service(&newer, "b", &callers, former.as_ref(), &held), None);
        // Whoever comes meanwhile is told of the new port.
        let both = [caller(15000), caller(15005)];
        let shared = service(&newer, "b", &both, former.as_ref(), &held);
        let ports = vec![(15000, 15000), (15005, 15000)];
        assert_eq!(
            shown(shared.as_ref()),
            ("a".to_owned(), local.clone(), ports)
        );
        let done = change(false, false);
        let changed = service(&newer, "b", &both, shared.as_ref(), &done);
        let ports = vec![(15005, 15005), (15000, 15005)];
        assert_eq!(
            shown(changed.as_ref()),
            ("b".to_owned(), local.clone(), ports)
        );
        let alone = service(&newer, "b", &both[1..], changed.as_ref(), &done);
        let ports = vec![(15005, 15005)];
        assert_eq!(shown(alone.as_ref()), ("b".to_owned(), local, ports));
    }

    #[test]
    fn traffic_stays_on_nodes_when_each_of_them_has_a_pod_and_leaves_them_at_once() {
        let (wide, narrow) = (plan(Sharing::Namespace, 15000), plan(Sharing::Node, 15000));
        let (lacking, done) = (change(true, false), change(false, false));
        let policy = |service: Option<&Service>| shown(service).1;
        let former = service(&wide, "a", &[], None, &lacking);
        assert_eq!(service(&narrow, "a", &[], former.as_ref(), &lacking), None);
        let narrowed = service(&narrow, "a", &[], former.as_ref(), &done);
        assert_eq!(policy(narrowed.as_ref()), "Local");
        let widened = service(&wide, "a", &[], narrowed.as_ref(), &lacking);
        assert_eq!(policy(widened.as_ref()), "Cluster");
    }
}
