use std::sync::Arc;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use outrigger_api::IntegratedApp;
use outrigger_placement::{is_gated, takes_room};

use super::ApplicationKey;
use super::read::node_of;
use crate::context::Context;
use crate::dataset::DatasetKey;
use crate::seen::Seen;

/// What to look at again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// One application.
    Application(ApplicationKey),
    /// All applications of which pods wait: something in the cluster is another way than it was.
    Waiting,
}

/// What to look at again, as things change that a decision rests on.
pub(super) fn requests(context: &Arc<Context>) -> impl Stream<Item = Request> + Send + use<> {
    let all: Vec<BoxStream<'static, Vec<Request>>> = vec![
        Box::pin(by_applications(Arc::clone(context))),
        Box::pin(by_pods(Arc::clone(context))),
        Box::pin(by_data(Arc::clone(context))),
        Box::pin(by_nodes(Arc::clone(context))),
        Box::pin(by_room(Arc::clone(context))),
        Box::pin(by_volumes(Arc::clone(context))),
    ];
    stream::select_all(all).flat_map(stream::iter)
}

/// An application whose spec changed, or whose status now keeps other nodes to avoid.
fn by_applications(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.lookup.applications().changes().map(move |changed| {
        let key = ApplicationKey::of(&changed);
        let current = context.lookup.applications().store().get(&key.reference());
        let is_new = match current {
            Some(current) => seen.is_new(key.clone(), shape(&current)),
            None => seen.forget(&key),
        };
        is_new
            .then_some(Request::Application(key))
            .into_iter()
            .collect()
    })
}

fn shape(application: &IntegratedApp) -> (Option<String>, Option<i64>, bool, Vec<String>) {
    (
        application.uid(),
        application.metadata.generation,
        application.metadata.deletion_timestamp.is_some(),
        kept(application),
    )
}

/// The nodes to avoid that an application's status keeps.
pub(super) fn kept(application: &IntegratedApp) -> Vec<String> {
    let status = application.status.as_ref();
    let placement = status.and_then(|status| status.placement.as_ref());
    let avoided = placement.into_iter().flat_map(|found| &found.avoided);
    avoided.map(|avoided| avoided.node.clone()).collect()
}

/// The application of a pod that appeared, went, was let go, bound or called unschedulable.
fn by_pods(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.pods.changes().map(move |pod| {
        let key = ObjectRef::from_obj(&*pod);
        let current = context.pods.store().get(&key);
        let is_new = match current {
            Some(current) => seen.is_new(key, place(&current)),
            None => seen.forget(&key),
        };
        let application = ApplicationKey::of_pod(&pod).filter(|_| is_new);
        application.map(Request::Application).into_iter().collect()
    })
}

/// What a decision takes from a pod that may change.
#[derive(PartialEq)]
struct Place {
    uid: Option<String>,
    gated: bool,
    node: Option<String>,
    over: bool,
    /// What the scheduler says of it.
    scheduled: Vec<Option<String>>,
}

fn place(pod: &Pod) -> Place {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let conditions = conditions.into_iter().flatten();
    let scheduled = conditions.filter(|found| found.type_ == "PodScheduled");
    Place {
        uid: pod.uid(),
        gated: is_gated(pod),
        node: node_of(pod).map(str::to_owned),
        over: !takes_room(pod) || pod.metadata.deletion_timestamp.is_some(),
        scheduled: scheduled.map(|found| found.reason.clone()).collect(),
    }
}

/// The applications that read a Dataset of which something else is known than before.
fn by_data(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    changed_data(&context).map(move |key| {
        let applications = context.lookup.applications().in_namespace(&key.namespace);
        let reading = applications.iter().filter(|application| {
            let mut hints = application.spec.data.iter().flatten();
            hints.any(|hint| hint.dataset == key.name)
        });
        let keys = reading.map(|application| ApplicationKey::of(application));
        keys.map(Request::Application).collect()
    })
}

/// The Datasets that come, go, or of which something else is known than before.
pub(crate) fn changed_data(
    context: &Context,
) -> impl Stream<Item = DatasetKey> + Send + Unpin + use<> {
    let mut seen = Seen::default();
    let lookup = Arc::clone(&context.lookup);
    let existing = lookup.datasets().changes().filter_map(move |changed| {
        let key = ObjectRef::from_obj(&*changed);
        let is_new = match lookup.datasets().store().get(&key) {
            Some(current) => seen.is_new(key, current.uid()),
            None => seen.forget(&key),
        };
        let key = DatasetKey {
            namespace: changed.namespace().unwrap_or_default(),
            name: changed.name_any(),
        };
        std::future::ready(is_new.then_some(key))
    });
    stream::select(existing, context.locations.changes())
}

/// A node came, went, or can be used in another way than before.
fn by_nodes(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.cluster.nodes.changes().map(move |node| {
        let key = ObjectRef::from_obj(&*node);
        let current = context.cluster.nodes.store().get(&key);
        let is_new = match current {
            Some(current) => seen.is_new(key, usable(&current)),
            None => seen.forget(&key),
        };
        is_new.then_some(Request::Waiting).into_iter().collect()
    })
}

/// What a decision takes from a node.
fn usable(node: &Node) -> outrigger_placement::Node {
    outrigger_placement::Node::new(node, [])
}

/// A pod somewhere took room, or gave it back.
fn by_room(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.cluster.pods.changes().map(move |pod| {
        let key = ObjectRef::from_obj(&*pod);
        let current = context.cluster.pods.store().get(&key);
        let node = current.and_then(|current| node_of(&current).map(str::to_owned));
        let is_new = match node {
            Some(node) => seen.is_new(key, node),
            None => seen.forget(&key),
        };
        is_new.then_some(Request::Waiting).into_iter().collect()
    })
}

/// A claim was bound or lost, or a volume came, went, or was attached elsewhere.
fn by_volumes(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let cluster = &context.cluster;
    let changes: Vec<BoxStream<'static, ()>> = vec![
        Box::pin(cluster.claims.changes().map(drop)),
        Box::pin(cluster.volumes.changes().map(drop)),
        Box::pin(cluster.attachments.changes().map(drop)),
        Box::pin(cluster.classes.changes().map(drop)),
    ];
    stream::select_all(changes).map(|()| vec![Request::Waiting])
}
