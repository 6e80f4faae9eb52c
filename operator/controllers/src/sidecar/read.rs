use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::ListParams;
use kube::{Api, Resource, ResourceExt};
use outrigger_api::{IntegratedApp, IntegrationSidecar};
use outrigger_control::layout;
use outrigger_lookup::LookupError;
use outrigger_placement::is_ready;
use outrigger_plan::{Referenced, revision_name};
use outrigger_rollout::carriers;

use super::successors::{self, Successors};
use super::watched::Watched;
use crate::context::SIDECAR_LABEL;
use crate::relations::{is_owned, users};

/// Nodes asked for in one look.
const NODES_AT_ONCE: usize = 16;

/// Everything that a decision about a sidecar rests on, but for what its slots say.
pub(super) struct Found {
    pub(super) sidecar: Arc<IntegrationSidecar>,
    /// The applications that use it.
    pub(super) applications: Vec<Arc<IntegratedApp>>,
    /// What those refer to.
    pub(super) referenced: Referenced,
    /// The applications of the namespace, by name.
    pub(super) existing: BTreeSet<String>,
    /// The ConfigMaps with its documents.
    pub(super) documents: Vec<Arc<ConfigMap>>,
    /// The pods that carry it.
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) revisions: Vec<ControllerRevision>,
    pub(super) trials: Vec<Arc<Pod>>,
    /// Nodes of its pods that are not Ready, as far as a rollout waits for them.
    pub(super) lost_nodes: BTreeSet<String>,
    /// What comes after pods that are evicted.
    pub(super) successors: Successors,
}

pub(super) async fn read(
    sidecar: &Arc<IntegrationSidecar>,
    watched: &Watched,
) -> Result<Found, LookupError> {
    let namespace = sidecar.namespace().unwrap_or_default();
    let name = sidecar.name_any();
    let context = &watched.context;

    let applications = context.lookup.applications().in_namespace(&namespace);
    let existing = applications.iter().map(|found| found.name_any()).collect();
    let applications = users(applications, &name);
    let referenced = context
        .lookup
        .referenced(&namespace, applications.iter().map(AsRef::as_ref))
        .await?;
    let mut documents = context.config_maps.in_namespace(&namespace);
    documents.retain(|found| found.labels().get(SIDECAR_LABEL) == Some(&name));

    let annotation = layout::order_annotation(&name);
    let mut pods = context.pods.in_namespace(&namespace);
    pods.extend(context.function_pods.in_namespace(&namespace));
    pods.retain(|pod| pod.annotations().contains_key(&annotation));
    let lost_nodes = lost_nodes(watched, &pods, sidecar).await?;
    let successors = successors::read(watched, &pods, sidecar).await?;
    let revisions = owned(watched.revisions.in_namespace(&namespace), sidecar);
    Ok(Found {
        sidecar: Arc::clone(sidecar),
        applications,
        referenced,
        existing,
        documents,
        pods,
        revisions: revisions.into_iter().map(Arc::unwrap_or_clone).collect(),
        trials: owned(watched.trials.in_namespace(&namespace), sidecar),
        lost_nodes,
        successors,
    })
}

/// The nodes that are not Ready, of pods that are not Ready either while a rollout wants something
/// of them. Nodes are not watched: this is seldom.
async fn lost_nodes(
    watched: &Watched,
    pods: &[Arc<Pod>],
    sidecar: &IntegrationSidecar,
) -> Result<BTreeSet<String>, LookupError> {
    let name = sidecar.name_any();
    let newest = revision_name(&name, &sidecar.spec.image);
    let (pods, _) = carriers(pods.iter().map(AsRef::as_ref), &name);
    let waiting = pods.iter().filter(|pod| {
        let concerned = pod.is_swapping() || !pod.has_both(&newest);
        !pod.ready && !pod.deleting && concerned
    });
    let nodes: BTreeSet<_> = waiting.filter_map(|pod| pod.node.clone()).collect();
    let api = Api::<Node>::all(watched.context.client.clone());
    let mut lost = BTreeSet::new();
    for name in nodes.into_iter().take(NODES_AT_ONCE) {
        let this = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = api.list(&this).await.map_err(|error| LookupError {
            what: format!("Node {name}"),
            error,
        })?;
        if !found.items.iter().any(is_ready) {
            lost.insert(name);
        }
    }
    Ok(lost)
}

pub(super) async fn budgets(
    watched: &Watched,
    namespace: &str,
) -> Result<Vec<PodDisruptionBudget>, LookupError> {
    let api = Api::<PodDisruptionBudget>::namespaced(watched.context.client.clone(), namespace);
    match api.list(&ListParams::default()).await {
        Ok(found) => Ok(found.items),
        Err(error) => Err(LookupError {
            what: format!("PodDisruptionBudgets of namespace {namespace}"),
            error,
        }),
    }
}

/// What a sidecar owns; not what one of the same name owned before.
fn owned<K: Resource<DynamicType = ()>>(
    mut found: Vec<Arc<K>>,
    sidecar: &IntegrationSidecar,
) -> Vec<Arc<K>> {
    found.retain(|object| is_owned(&**object, sidecar));
    found.sort_by_key(|object| object.name_any());
    found
}
