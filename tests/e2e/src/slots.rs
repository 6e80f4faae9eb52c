//! What slots say of themselves on their admin ports.

use std::net::IpAddr;

use anyhow::Context;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;
use outrigger_control::{Order, Report, Role, Slot, layout};

use crate::fetch;

/// The order in a pod's annotation.
///
/// # Errors
/// When the pod has none, or not one of this version.
pub fn order(pod: &Pod, sidecar: &str) -> anyhow::Result<Order> {
    let key = layout::order_annotation(sidecar);
    let text = pod.annotations().get(&key);
    let text = text.with_context(|| format!("pod {} has no {key}", pod.name_any()))?;
    Order::parse(text).with_context(|| format!("pod {}: {key} is {text}", pod.name_any()))
}

/// The pod's address.
///
/// # Errors
/// When it has none yet.
pub fn address(pod: &Pod) -> anyhow::Result<IpAddr> {
    let address = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref());
    let address = address.with_context(|| format!("pod {} has no address", pod.name_any()))?;
    Ok(address.parse()?)
}

/// Asks a slot for its report.
///
/// # Errors
/// When it gives none.
pub async fn report(pod: &Pod, sidecar: &str, slot: Slot) -> anyhow::Result<Report> {
    let port = *order(pod, sidecar)?.admin.of(slot);
    let url = format!("http://{}:{port}/status", address(pod)?);
    fetch::get(&url).await?.json()
}

/// Asks both slots which of them is active.
///
/// # Errors
/// When neither says that it is.
pub async fn active(pod: &Pod, sidecar: &str) -> anyhow::Result<Slot> {
    for slot in Slot::BOTH {
        // One that does not answer is not the active one, as far as can be told.
        let report = report(pod, sidecar, slot).await;
        if report.is_ok_and(|report| report.role == Role::Active) {
            return Ok(slot);
        }
    }
    anyhow::bail!("no slot of pod {} is active", pod.name_any())
}

/// The status of a slot's container.
///
/// # Errors
/// When the pod has none.
pub fn container<'a>(
    pod: &'a Pod,
    sidecar: &str,
    slot: Slot,
) -> anyhow::Result<&'a ContainerStatus> {
    let name = slot.container(sidecar);
    let statuses = pod
        .status
        .as_ref()
        .and_then(|status| status.init_container_statuses.as_ref());
    let found = statuses.and_then(|all| all.iter().find(|status| status.name == name));
    found.with_context(|| format!("pod {} has no container {name}", pod.name_any()))
}

/// The image string in a slot's spec.
///
/// # Errors
/// When the pod has no such slot.
pub fn image<'a>(pod: &'a Pod, sidecar: &str, slot: Slot) -> anyhow::Result<&'a str> {
    let name = slot.container(sidecar);
    let containers = pod
        .spec
        .as_ref()
        .and_then(|spec| spec.init_containers.as_ref());
    let found = containers.and_then(|all| all.iter().find(|container| container.name == name));
    found
        .and_then(|container| container.image.as_deref())
        .with_context(|| format!("pod {} has no container {name}", pod.name_any()))
}
