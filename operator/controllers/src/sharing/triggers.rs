use std::net::IpAddr;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use outrigger_api::{IntegrationSidecar, Sharing};
use outrigger_control::layout::{self, SHARED_LABEL};
use outrigger_injection::application;

use super::consumers::{addresses, consumes, has_ended};
use super::watched::Watched;
use crate::context::SIDECAR_LABEL;
use crate::drive::Requests;
use crate::metrics::Controller;
use crate::seen::Seen;

type Request = ObjectRef<IntegrationSidecar>;

/// The sidecars to look at again, as things change that a decision about them rests on.
pub(super) fn requests(watched: &Arc<Watched>) -> Vec<Requests<IntegrationSidecar>> {
    vec![
        Box::pin(by_sidecars(watched)),
        Box::pin(by_applications(watched)),
        Box::pin(by_configurations(watched)),
        Box::pin(by_consumers(watched)),
        Box::pin(by_function_pods(watched)),
        Box::pin(by_label(watched.context.config_maps.changes())),
        Box::pin(by_label(watched.services.changes())),
    ]
}

/// A sidecar whose spec changed.
fn by_sidecars(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let watched = Arc::clone(watched);
    let mut seen = Seen::default();
    let sidecars = watched.context.lookup.sidecars();
    sidecars.changes().map(move |changed| {
        let request = ObjectRef::from_obj(&*changed);
        let sidecars = watched.context.lookup.sidecars();
        let is_new = match sidecars.store().get(&request) {
            Some(current) => {
                let metadata = &current.metadata;
                let deleted = metadata.deletion_timestamp.is_some();
                seen.is_new(
                    request.clone(),
                    (current.uid(), metadata.generation, deleted),
                )
            }
            None => {
                let uid = changed.uid().unwrap_or_default();
                watched.memory.forget(&uid);
                watched.context.sharings.publish(&changed, None);
                let backoffs = &watched.context.backoffs;
                backoffs.reset(&(Controller::Sharing, uid));
                seen.forget(&request)
            }
        };
        is_new.then_some(request).into_iter().collect()
    })
}

/// The shared sidecars of the namespace of an application that changed: it may have used any.
fn by_applications(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let watched = Arc::clone(watched);
    let mut seen = Seen::default();
    let applications = watched.context.lookup.applications();
    applications.changes().map(move |changed| {
        let key = ObjectRef::from_obj(&*changed);
        let applications = watched.context.lookup.applications();
        let is_new = match applications.store().get(&key) {
            Some(current) => {
                let metadata = &current.metadata;
                let deleted = metadata.deletion_timestamp.is_some();
                seen.is_new(key, (current.uid(), metadata.generation, deleted))
            }
            None => seen.forget(&key),
        };
        let namespace = changed.namespace().unwrap_or_default();
        match is_new {
            true => shared(&watched, &namespace),
            false => Vec::new(),
        }
    })
}

/// The shared sidecars of the namespace of an application whose configuration is another one, by
/// whatever it refers to.
fn by_configurations(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let watched = Arc::clone(watched);
    let changes = watched.context.configurations.changes();
    changes.map(move |(namespace, _)| shared(&watched, &namespace))
}

/// The sidecars that a pod uses, and all shared ones of its namespace: their consumers may have lost
/// an address to it.
fn by_consumers(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let watched = Arc::clone(watched);
    let mut seen = Seen::default();
    watched.context.pods.changes().map(move |pod| {
        let key = ObjectRef::from_obj(&*pod);
        let is_new = match watched.context.pods.store().get(&key) {
            Some(current) => seen.is_new(key, shape(&current)),
            None => seen.forget(&key),
        };
        if !is_new {
            return Vec::new();
        }
        let namespace = pod.namespace().unwrap_or_default();
        let sidecars = watched.context.lookup.sidecars().in_namespace(&namespace);
        let used = sidecars.iter().filter(|sidecar| {
            is_shared(&watched, sidecar) || consumes(&pod, &namespace, &sidecar.name_any())
        });
        used.map(|sidecar| ObjectRef::from_obj(&**sidecar))
            .collect()
    })
}

/// The sidecar of a function pod.
fn by_function_pods(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    watched.context.function_pods.changes().map(|pod| {
        let namespace = pod.namespace().unwrap_or_default();
        let name = pod.labels().get(SHARED_LABEL);
        name.map(|name| request(&namespace, name))
            .into_iter()
            .collect()
    })
}

/// The shared sidecar that an object of ours belongs to.
fn by_label<K>(
    changes: impl Stream<Item = Arc<K>> + Send + 'static,
) -> impl Stream<Item = Vec<Request>> + Send
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    changes.map(|changed| {
        let namespace = changed.namespace().unwrap_or_default();
        let sidecar = changed.labels().get(SIDECAR_LABEL).filter(|sidecar| {
            let name = changed.name_any();
            name == layout::shared_config_map_name(sidecar)
                || name == layout::shared_service(sidecar)
        });
        let request = sidecar.map(|name| request(&namespace, name));
        request.into_iter().collect()
    })
}

fn shared(watched: &Watched, namespace: &str) -> Vec<Request> {
    let sidecars = watched.context.lookup.sidecars().in_namespace(namespace);
    let shared = sidecars
        .iter()
        .filter(|sidecar| is_shared(watched, sidecar));
    shared
        .map(|sidecar| ObjectRef::from_obj(&**sidecar))
        .collect()
}

/// Whether a sidecar is shared, or something is left of that.
fn is_shared(watched: &Watched, sidecar: &IntegrationSidecar) -> bool {
    sidecar.spec.effective_sharing() != Sharing::Pod
        || watched.context.sharings.get(sidecar).is_some()
}

fn request(namespace: &str, name: &str) -> Request {
    ObjectRef::new(name).within(namespace)
}

/// What a decision takes from a pod.
#[derive(PartialEq)]
struct Shape {
    uid: Option<String>,
    application: Option<String>,
    node: Option<String>,
    addresses: Vec<IpAddr>,
    ended: bool,
}

fn shape(pod: &Pod) -> Shape {
    let spec = pod.spec.as_ref();
    Shape {
        uid: pod.uid(),
        application: application(pod).map(str::to_owned),
        node: spec.and_then(|spec| spec.node_name.clone()),
        addresses: addresses(pod),
        ended: has_ended(pod),
    }
}
