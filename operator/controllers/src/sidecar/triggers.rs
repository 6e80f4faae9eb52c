use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use outrigger_api::IntegrationSidecar;
use outrigger_injection::orders;
use outrigger_lookup::Mirror;

use super::watched::{Watched, key};
use crate::context::SIDECAR_LABEL;
use crate::drive::Requests;
use crate::metrics::Controller;

type Request = ObjectRef<IntegrationSidecar>;

/// The sidecars to look at again, as things change that a decision about them rests on.
pub(super) fn requests(watched: &Arc<Watched>) -> Vec<Requests<IntegrationSidecar>> {
    vec![
        Box::pin(by_sidecars(watched)),
        Box::pin(by_applications(watched)),
        Box::pin(by_pods(watched, &watched.context.pods)),
        Box::pin(by_pods(watched, &watched.context.function_pods)),
        Box::pin(by_documents(watched)),
        Box::pin(by_sharing(watched)),
        Box::pin(owners_of(watched.revisions.changes())),
        Box::pin(owners_of(watched.trials.changes())),
    ]
}

fn by_sidecars(watched: &Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let watched = Arc::clone(watched);
    let sidecars = watched.context.lookup.sidecars();
    sidecars.changes().map(move |changed| {
        let request = ObjectRef::from_obj(&*changed);
        let sidecars = watched.context.lookup.sidecars();
        if sidecars.store().get(&request).is_none() {
            watched.settling.forget(&key(&changed));
            let uid = changed.uid().unwrap_or_default();
            watched.overtaken.reset(&uid);
            watched.controllers.forget(&uid);
            watched.refusals.forget(&uid);
            let backoffs = &watched.context.backoffs;
            backoffs.reset(&(Controller::Sidecar, uid));
        }
        vec![request]
    })
}

/// The sidecars that an application uses. One that it used before is found by its pods.
fn by_applications(watched: &Watched) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let applications = watched.context.lookup.applications();
    applications.changes().map(|application| {
        let namespace = application.namespace().unwrap_or_default();
        let sidecars = application.spec.sidecars.iter();
        sidecars
            .map(|usage| request(&namespace, &usage.name))
            .collect()
    })
}

/// The sidecars that a pod carries.
fn by_pods(
    watched: &Arc<Watched>,
    pods: &Mirror<Pod>,
) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let (watched, pods) = (Arc::clone(watched), pods.clone());
    pods.changes().map(move |pod| {
        if pods.store().get(&ObjectRef::from_obj(&*pod)).is_none() {
            watched.slots.forget(&pod.uid().unwrap_or_default());
        }
        let namespace = pod.namespace().unwrap_or_default();
        let sidecars = orders(&pod).into_keys();
        sidecars.map(|name| request(&namespace, &name)).collect()
    })
}

/// The sidecar whose documents were written.
fn by_documents(watched: &Watched) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let changes = watched.context.config_maps.changes();
    changes.map(|changed: Arc<ConfigMap>| {
        let namespace = changed.namespace().unwrap_or_default();
        let sidecar = changed.labels().get(SIDECAR_LABEL);
        let request = sidecar.map(|name| request(&namespace, name));
        request.into_iter().collect()
    })
}

/// The sidecar of whose function pods there is something else to say.
fn by_sharing(watched: &Watched) -> impl Stream<Item = Vec<Request>> + Send + use<> {
    let changes = watched.context.sharings.changes();
    changes.map(|request| vec![request])
}

/// The sidecar that owns an object.
fn owners_of<K>(
    changes: impl Stream<Item = Arc<K>> + Send + 'static,
) -> impl Stream<Item = Vec<Request>> + Send
where
    K: Resource<DynamicType = ()> + Send + Sync + 'static,
{
    changes.map(|changed| {
        let namespace = changed.namespace().unwrap_or_default();
        let owners = changed.owner_references().iter();
        owners
            .filter(|owner| owner.kind == IntegrationSidecar::kind(&()))
            .map(|owner| request(&namespace, &owner.name))
            .collect()
    })
}

fn request(namespace: &str, name: &str) -> Request {
    ObjectRef::new(name).within(namespace)
}
