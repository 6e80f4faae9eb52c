use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout;
use outrigger_injection::application;
use outrigger_placement::takes_room;

/// A pod that uses a shared sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Consumer {
    /// Name of its application.
    pub(super) application: String,
    /// The node it was given to.
    pub(super) node: Option<String>,
    /// All of its addresses.
    pub(super) addresses: Vec<IpAddr>,
    /// The ports of functions that it was told of: the variable with the address, and the port.
    pub(super) calls: Vec<(String, u16)>,
}

/// The pods that use a shared sidecar and have not ended, by the time they started. Those that
/// did not start yet, and so have no address of their own, come first. An address that a later one of
/// these pods has, whether it uses the sidecar or not, is no longer theirs.
pub(super) fn consumers<'a>(
    pods: impl IntoIterator<Item = &'a Pod>,
    namespace: &str,
    sidecar: &str,
) -> Vec<Consumer> {
    let pods: Vec<_> = pods.into_iter().filter(|pod| !has_ended(pod)).collect();
    let mut owners: BTreeMap<IpAddr, (Option<Timestamp>, String)> = BTreeMap::new();
    for pod in &pods {
        let claim = (started(pod), pod.name_any());
        for address in addresses(pod) {
            let owner = owners.entry(address).or_insert_with(|| claim.clone());
            *owner = claim.clone().max(owner.clone());
        }
    }
    let mut found: Vec<(Option<Timestamp>, String, Consumer)> = pods
        .into_iter()
        .filter(|pod| !is_operators(pod) && consumes(pod, namespace, sidecar))
        .filter_map(|pod| {
            let name = pod.name_any();
            let is_own = |address: &IpAddr| {
                let owner = owners.get(address);
                owner.is_some_and(|(_, owner)| *owner == name)
            };
            let mut addresses = addresses(pod);
            addresses.retain(is_own);
            let consumer = Consumer {
                application: application(pod)?.to_owned(),
                node: node(pod).map(str::to_owned),
                addresses,
                calls: calls(pod, namespace, sidecar)
                    .filter_map(|(name, port)| Some((name.to_owned(), port.parse().ok()?)))
                    .collect(),
            };
            Some((started(pod), name, consumer))
        })
        .collect();
    found.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    found.into_iter().map(|(_, _, consumer)| consumer).collect()
}

/// Whether a container of a pod was given an address of a shared sidecar. The pod's environment
/// never changes, whatever its application says by now.
pub(super) fn consumes(pod: &Pod, namespace: &str, sidecar: &str) -> bool {
    calls(pod, namespace, sidecar).next().is_some()
}

/// Variables with addresses of functions of a shared sidecar, and what follows the colon there.
fn calls<'a>(
    pod: &'a Pod,
    namespace: &str,
    sidecar: &str,
) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let url = layout::shared_function_url(sidecar, namespace, 0);
    let prefix = url.trim_end_matches('0').to_owned();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    containers
        .flat_map(|container| container.env.iter().flatten())
        .filter_map(move |variable| {
            let port = variable.value.as_deref()?.strip_prefix(&prefix)?;
            Some((variable.name.as_str(), port))
        })
}

/// Whether a pod runs no more, so that its addresses may be given to another one. One that is deleted
/// is told to have ended a moment after its last container.
pub(super) fn has_ended(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let mut containers = status
        .into_iter()
        .flat_map(|status| status.container_statuses.iter().flatten())
        .map(|container| container.state.as_ref())
        .peekable();
    let is_deleted = pod.metadata.deletion_timestamp.is_some() && containers.peek().is_some();
    let have_ended = containers.all(|state| state.is_some_and(|state| state.terminated.is_some()));
    !takes_room(pod) || is_deleted && have_ended
}

fn started(pod: &Pod) -> Option<Timestamp> {
    let started = pod.status.as_ref()?.start_time.as_ref();
    started.map(|started| started.0)
}

/// Whether the operator made the pod itself: it calls no functions, whatever it was given.
fn is_operators(pod: &Pod) -> bool {
    let labels = pod.labels();
    [layout::PREFLIGHT_LABEL, layout::SHARED_LABEL]
        .iter()
        .any(|label| labels.contains_key(*label))
}

fn node(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref()
}

/// All addresses of a pod, sorted; none if they are its node's.
pub(super) fn addresses(pod: &Pod) -> Vec<IpAddr> {
    let of_the_node = pod.spec.as_ref().and_then(|spec| spec.host_network) == Some(true);
    let Some(status) = pod.status.as_ref().filter(|_| !of_the_node) else {
        return Vec::new();
    };
    let all = status.pod_ips.iter().flatten().map(|found| &found.ip);
    let mut addresses: Vec<IpAddr> = all
        .chain(&status.pod_ip)
        .filter_map(|address| address.parse().ok())
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}
