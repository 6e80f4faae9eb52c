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

/// Position of a slot in the pod's `spec.initContainers`.
pub fn slot_index(pod: &Pod, sidecar: &str, slot: Slot) -> Option<usize> {
    let name = slot.container(sidecar);
    init_containers(pod)
        .iter()
        .position(|container| container.name == name)
}

/// The container of a slot in the pod's spec.
pub fn slot_spec<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> Option<&'a Container> {
    init_containers(pod).get(slot_index(pod, sidecar, slot)?)
}

/// The image of a slot in the pod's spec.
pub fn slot_image<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> Option<&'a str> {
    slot_spec(pod, sidecar, slot)?.image.as_deref()
}

/// The status of a slot's container; `None` until kubelet has reported one.
pub fn slot_status<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> Option<&'a ContainerStatus> {
    let name = slot.container(sidecar);
    let statuses = pod.status.as_ref()?.init_container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == name)
}

/// Whether a pod carries both slots of a sidecar, as far as names can tell, with a readable order.
pub(crate) fn carries(pod: &Pod, sidecar: &str) -> bool {
    let order = pod.annotations().get(&layout::order_annotation(sidecar));
    let native = |slot| {
        slot_spec(pod, sidecar, slot)
            .is_some_and(|container| container.restart_policy.as_deref() == Some("Always"))
    };
    order.is_some_and(|order| Order::parse(order).is_ok()) && Slot::BOTH.into_iter().all(native)
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
