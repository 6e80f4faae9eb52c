//! What a pod already carries.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};
use kube::ResourceExt;
use outrigger_control::{InvalidOrder, Order, Slot, layout};

/// Name of the application whose sidecars a pod carries.
pub fn application(pod: &Pod) -> Option<&str> {
    pod.labels()
        .get(layout::APPLICATION_LABEL)
        .map(String::as_str)
}

/// The orders of a pod's slots, by sidecar.
pub fn orders(pod: &Pod) -> BTreeMap<String, Result<Order, InvalidOrder>> {
    let prefix = layout::order_annotation("");
    pod.annotations()
        .iter()
        .filter_map(|(key, value)| {
            let sidecar = key.strip_prefix(&prefix)?;
            Some((sidecar.to_owned(), Order::parse(value)))
        })
        .collect()
}

/// Name of the container of a slot; with one container only it is both slots'.
pub fn container_name(order: &Order, sidecar: &str, slot: Slot) -> String {
    match order.single {
        true => sidecar.to_owned(),
        false => slot.container(sidecar),
    }
}

/// Position of a slot's container in the pod's `spec.initContainers`.
pub fn slot_index(pod: &Pod, sidecar: &str, slot: Slot) -> Option<usize> {
    container_index(pod, &name_in(pod, sidecar, slot))
}

/// The image of a slot in the pod's spec.
pub fn slot_image<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> Option<&'a str> {
    container(pod, &name_in(pod, sidecar, slot))?
        .image
        .as_deref()
}

/// The status of a slot's container; `None` until kubelet has reported one.
pub fn slot_status<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> Option<&'a ContainerStatus> {
    let name = name_in(pod, sidecar, slot);
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)
}

/// Position of a container in the pod's `spec.initContainers`.
pub(crate) fn container_index(pod: &Pod, name: &str) -> Option<usize> {
    let mut containers = init_containers(pod).iter();
    containers.position(|container| container.name == name)
}

/// A container in the pod's `spec.initContainers`.
pub(crate) fn container<'a>(pod: &'a Pod, name: &str) -> Option<&'a Container> {
    init_containers(pod).get(container_index(pod, name)?)
}

/// Names of the containers that an order is about.
pub(crate) fn container_names(order: &Order, sidecar: &str) -> Vec<String> {
    match order.single {
        true => vec![sidecar.to_owned()],
        false => slot_names(sidecar),
    }
}

/// Names of the containers of both slots.
pub(crate) fn slot_names(sidecar: &str) -> Vec<String> {
    Slot::BOTH.map(|slot| slot.container(sidecar)).into()
}

/// The sidecars that a pod carries, as far as names can tell: those with a readable order whose
/// containers are native sidecars of the pod.
pub(crate) fn residents(pod: &Pod) -> BTreeMap<String, Order> {
    let native = |name: &String| {
        container(pod, name)
            .is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
    };
    orders(pod)
        .into_iter()
        .filter_map(|(sidecar, order)| Some((sidecar, order.ok()?)))
        .filter(|(sidecar, order)| container_names(order, sidecar).iter().all(native))
        .collect()
}

fn name_in(pod: &Pod, sidecar: &str, slot: Slot) -> String {
    let annotation = pod.annotations().get(&layout::order_annotation(sidecar));
    let order = annotation.and_then(|text| Order::parse(text).ok());
    match order {
        Some(order) => container_name(&order, sidecar, slot),
        None => slot.container(sidecar),
    }
}

fn init_containers(pod: &Pod) -> &[Container] {
    pod.spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_slot_is_found_by_name_wherever_it_stands() {
        let pod: Pod = serde_json::from_value(json!({
            "spec": {
                "containers": [{"name": "orders-a"}],
                "initContainers": [
                    {"name": "mesh"},
                    {"name": "orders-a", "image": "one"},
                    {"name": "orders-b", "image": "two"},
                ],
            },
            "status": {"initContainerStatuses": [{
                "name": "orders-b", "image": "two", "imageID": "", "ready": true,
                "restartCount": 3,
            }]},
        }))
        .unwrap();
        assert_eq!(slot_index(&pod, "orders", Slot::A), Some(1));
        assert_eq!(slot_image(&pod, "orders", Slot::B), Some("two"));
        assert!(slot_status(&pod, "orders", Slot::A).is_none());
        assert_eq!(
            slot_status(&pod, "orders", Slot::B).unwrap().restart_count,
            3
        );
        assert_eq!(slot_index(&pod, "other", Slot::A), None);
    }

    #[test]
    fn orders_are_read_by_sidecar_and_bad_ones_are_told() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"annotations": {
            "outrigger.dev/slot-orders": "{}",
            "outrigger.dev/other": "x",
            "example.com/slot-no": "x",
        }}}))
        .unwrap();
        let orders = orders(&pod);
        assert_eq!(orders.len(), 1);
        assert!(orders["orders"].is_err());
    }
}
