use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::layout::{ANNOTATION_PREFIX, APPLICATION_LABEL};
use outrigger_plan::{Owners, config_map_names};
use tokio_stream::wrappers::WatchStream;

use crate::context::{Context, MANAGED_BY_LABEL, MANAGER};
use crate::drive::Requests;
use crate::metrics::Controller;
use crate::placement;
use crate::seen::Seen;

type Request = ObjectRef<IntegratedApp>;

/// The applications to look at again, as things change that a decision about them rests on.
pub(super) fn requests(context: &Arc<Context>) -> Vec<Requests<IntegratedApp>> {
    vec![
        Box::pin(by_applications(Arc::clone(context))),
        Box::pin(by_sidecars(Arc::clone(context))),
        Box::pin(by_pods(Arc::clone(context))),
        Box::pin(by_documents(Arc::clone(context))),
        Box::pin(by_parameters(Arc::clone(context))),
        Box::pin(by_coverage(Arc::clone(context))),
        Box::pin(by_data(Arc::clone(context))),
        Box::pin(by_standing(Arc::clone(context))),
    ]
}

/// An application whose spec changed, and all of its namespace: one of them may match the same pods.
fn by_applications(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.lookup.applications().changes().map(move |changed| {
        let key = ObjectRef::from_obj(&*changed);
        let applications = context.lookup.applications();
        let Some(current) = applications.store().get(&key) else {
            seen.forget(&key);
            let name = (changed.namespace().unwrap_or_default(), changed.name_any());
            context.configurations.forget(&name);
            let uid = changed.uid().unwrap_or_default();
            context.repairs.forget(&uid);
            context.backoffs.reset(&(Controller::Application, uid));
            return in_namespace(&context, &changed.namespace().unwrap_or_default(), |_| true);
        };
        let shape = (
            current.uid(),
            current.metadata.generation,
            current.metadata.deletion_timestamp.is_some(),
        );
        match seen.is_new(key.clone(), shape) {
            true => in_namespace(&context, &current.namespace().unwrap_or_default(), |_| true),
            // Its status: a decision may rest on one from before our own last write.
            false => vec![key],
        }
    })
}

/// The applications that use a sidecar whose spec changed.
fn by_sidecars(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.lookup.sidecars().changes().map(move |changed| {
        let key = ObjectRef::from_obj(&*changed);
        let is_new = match context.lookup.sidecars().store().get(&key) {
            Some(current) => seen.is_new(key, (current.uid(), current.metadata.generation)),
            None => seen.forget(&key),
        };
        match is_new {
            true => using(&context, &changed),
            false => Vec::new(),
        }
    })
}

/// The applications that a pod with sidecars may concern. Most changes of a pod concern none.
fn by_pods(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut seen = Seen::default();
    context.pods.changes().map(move |pod| {
        let key = ObjectRef::from_obj(&*pod);
        let is_new = match context.pods.store().get(&key) {
            Some(current) => seen.is_new(key, shape(&current)),
            None => seen.forget(&key),
        };
        match is_new {
            true => in_namespace(
                &context,
                &pod.namespace().unwrap_or_default(),
                |application| may_concern(application, &pod),
            ),
            false => Vec::new(),
        }
    })
}

/// The application whose documents somebody wrote, we ourselves included.
fn by_documents(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    context.config_maps.changes().map(|changed| {
        let application = changed.labels().get(APPLICATION_LABEL);
        let request =
            application.map(|name| request(&changed.namespace().unwrap_or_default(), name));
        request.into_iter().collect()
    })
}

/// The applications that use a sidecar with a ConfigMap that changed. Whose content is needed is
/// read then; watching the content of all would keep it in memory.
fn by_parameters(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let api = Api::<PartialObjectMeta<ConfigMap>>::all(context.client.clone());
    let others = watcher::Config::default().labels(&format!("{MANAGED_BY_LABEL}!={MANAGER}"));
    watcher(api, others)
        .default_backoff()
        .touched_objects()
        .filter_map(|changed| {
            std::future::ready(match changed {
                Ok(changed) => Some(changed),
                Err(error) => {
                    tracing::warn!(%error, "ConfigMaps cannot be watched; trying again");
                    None
                }
            })
        })
        .map(move |changed| {
            let namespace = changed.namespace().unwrap_or_default();
            let name = changed.name_any();
            let mut sidecars = context.lookup.sidecars().in_namespace(&namespace);
            sidecars.retain(|sidecar| config_map_names(sidecar).contains(name.as_str()));
            let requests = sidecars.iter().flat_map(|sidecar| using(&context, sidecar));
            requests.collect()
        })
}

/// The applications of namespaces that are newly covered by the webhook, or no longer.
fn by_coverage(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let mut known = BTreeSet::new();
    WatchStream::new(context.covered.clone()).map(move |covered| {
        let changed: Vec<_> = known.symmetric_difference(&covered).cloned().collect();
        known = covered;
        let requests = changed
            .iter()
            .flat_map(|namespace| in_namespace(&context, namespace, |_| true));
        requests.collect()
    })
}

/// The applications that read a Dataset that came or went, or of which something else is known.
fn by_data(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    placement::changed_data(&context).map(move |key| {
        in_namespace(&context, &key.namespace, |application| {
            let mut hints = application.spec.data.iter().flatten();
            hints.any(|hint| hint.dataset == key.name)
        })
    })
}

/// The application of which the placement controller has something else to say.
fn by_standing(context: Arc<Context>) -> impl Stream<Item = Vec<Request>> + Send {
    let changes = context.standings.changes();
    changes.map(|key| vec![request(&key.namespace, &key.name)])
}

fn in_namespace(
    context: &Context,
    namespace: &str,
    wanted: impl Fn(&IntegratedApp) -> bool,
) -> Vec<Request> {
    let applications = context.lookup.applications().in_namespace(namespace);
    let wanted = applications.iter().filter(|found| wanted(found));
    wanted.map(|found| ObjectRef::from_obj(&**found)).collect()
}

fn using(context: &Context, sidecar: &IntegrationSidecar) -> Vec<Request> {
    let name = sidecar.name_any();
    in_namespace(
        context,
        &sidecar.namespace().unwrap_or_default(),
        |application| {
            let mut sidecars = application.spec.sidecars.iter();
            sidecars.any(|usage| usage.name == name)
        },
    )
}

fn request(namespace: &str, name: &str) -> Request {
    ObjectRef::new(name).within(namespace)
}

/// What a decision about an application takes from a pod that has sidecars; of the fields of its spec
/// that count, only the node changes.
#[derive(PartialEq)]
struct Shape {
    uid: Option<String>,
    deleted: bool,
    ended: Option<String>,
    node: Option<String>,
    /// Our annotations, and all labels.
    told: BTreeMap<String, String>,
}

fn shape(pod: &Pod) -> Shape {
    let phase = pod.status.as_ref().and_then(|status| status.phase.clone());
    let spec = pod.spec.as_ref();
    let mut told = pod.annotations().clone();
    told.retain(|key, _| key.starts_with(ANNOTATION_PREFIX));
    told.extend(pod.labels().clone());
    Shape {
        uid: pod.uid(),
        deleted: pod.metadata.deletion_timestamp.is_some(),
        ended: phase.filter(|phase| phase == "Succeeded" || phase == "Failed"),
        node: spec.and_then(|spec| spec.node_name.clone()),
        told,
    }
}

/// Whether an application may serve a pod or be refused for it. Workloads name what they create
/// after themselves; where one does not, the next look at the application finds out.
fn may_concern(application: &IntegratedApp, pod: &Pod) -> bool {
    let carried = pod.labels().get(APPLICATION_LABEL);
    let by_name = carried == Some(&application.name_any());
    let workload = application.spec.workload_ref.as_ref();
    let controller = Owners::controller(pod.owner_references());
    by_name
        || outrigger_plan::adopting(pod, &Owners::default(), [application]).is_some()
        || workload
            .zip(controller)
            .is_some_and(|(workload, controller)| controller.name.starts_with(&workload.name))
}
