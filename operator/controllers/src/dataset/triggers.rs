use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, PersistentVolume};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use outrigger_api::Dataset;
use outrigger_placement::is_ready;

use super::locations::DatasetKey;
use super::watched::Watched;
use crate::drive::Requests;
use crate::metrics::Controller;
use crate::seen::Seen;

type Request = ObjectRef<Dataset>;

/// The Datasets to look at again, as things change that are to be said of them.
pub(super) fn requests(watched: &Arc<Watched>) -> Vec<Requests<Dataset>> {
    vec![
        Box::pin(by_datasets(Arc::clone(watched))),
        Box::pin(by_claims(Arc::clone(watched))),
        Box::pin(by_volumes(Arc::clone(watched))),
        Box::pin(by_attachments(Arc::clone(watched))),
        Box::pin(by_nodes(Arc::clone(watched))),
    ]
}

/// A Dataset whose spec or status changed. What is known of one that is gone is forgotten.
fn by_datasets(watched: Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send {
    let datasets = watched.context.lookup.datasets();
    datasets.changes().map(move |changed| {
        let request = ObjectRef::from_obj(&*changed);
        let uid = changed.uid().unwrap_or_default();
        let current = watched.context.lookup.datasets().store().get(&request);
        if current.as_ref().and_then(|current| current.uid()) != changed.uid() {
            watched.scans.forget(&uid);
            watched.failing.reset(&uid);
            let backoffs = &watched.context.backoffs;
            backoffs.reset(&(Controller::Dataset, uid));
        }
        if current.is_none() {
            watched.context.locations.forget(&DatasetKey {
                namespace: changed.namespace().unwrap_or_default(),
                name: changed.name_any(),
            });
        }
        vec![request]
    })
}

/// The Datasets with claims in the namespace of one that changed: it may have had other labels.
fn by_claims(watched: Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send {
    let claims = watched.context.cluster.claims.changes();
    claims.map(move |claim| with_claims(&watched, &claim.namespace().unwrap_or_default()))
}

/// The Datasets with claims in the namespace of a volume's claim.
fn by_volumes(watched: Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send {
    let volumes = watched.context.cluster.volumes.changes();
    volumes.map(move |volume| of_volume(&watched, &volume))
}

/// Those of the volume that is attached, or not any more.
fn by_attachments(watched: Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send {
    let attachments = watched.context.cluster.attachments.changes();
    attachments.map(move |attachment| {
        let name = attachment.spec.source.persistent_volume_name.as_deref();
        let volumes = watched.context.cluster.volumes.store();
        let volume = name.and_then(|name| volumes.get(&ObjectRef::new(name)));
        volume.map_or_else(Vec::new, |volume| of_volume(&watched, &volume))
    })
}

/// All, when a node comes or goes, is another one, or has other names or labels.
fn by_nodes(watched: Arc<Watched>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    watched.context.cluster.nodes.changes().map(move |changed| {
        let key = ObjectRef::from_obj(&*changed);
        let is_new = match watched.context.cluster.nodes.store().get(&key) {
            Some(current) => seen.is_new(key, Shape(current)),
            None => seen.forget(&key),
        };
        match is_new {
            true => {
                let datasets = watched.context.lookup.datasets().store().state();
                datasets.iter().map(|found| request(found)).collect()
            }
            false => Vec::new(),
        }
    })
}

fn of_volume(watched: &Watched, volume: &PersistentVolume) -> Vec<Request> {
    let spec = volume.spec.as_ref();
    let claim = spec.and_then(|spec| spec.claim_ref.as_ref());
    let namespace = claim.and_then(|claim| claim.namespace.as_deref());
    namespace.map_or_else(Vec::new, |namespace| with_claims(watched, namespace))
}

fn with_claims(watched: &Watched, namespace: &str) -> Vec<Request> {
    let datasets = watched.context.lookup.datasets().in_namespace(namespace);
    let with_claims = datasets
        .iter()
        .filter(|found| found.spec.persistent_volume_claims.is_some());
    with_claims.map(|found| request(found)).collect()
}

fn request(dataset: &Dataset) -> Request {
    ObjectRef::from_obj(dataset)
}

/// A node, compared by what is asked of it here.
struct Shape(Arc<Node>);

impl PartialEq for Shape {
    fn eq(&self, other: &Shape) -> bool {
        let (one, other) = (&self.0, &other.0);
        let addresses = |node: &Node| {
            let status = node.status.as_ref();
            status.and_then(|status| status.addresses.clone())
        };
        one.uid() == other.uid()
            && is_ready(one) == is_ready(other)
            && one.labels() == other.labels()
            && addresses(one) == addresses(other)
    }
}
