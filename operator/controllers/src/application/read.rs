use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{ListParams, PartialObjectMeta};
use kube::core::{Expression, Selector};
use kube::{Api, ResourceExt};
use outrigger_api::{IntegratedApp, Replacement};
use outrigger_control::layout::APPLICATION_LABEL;
use outrigger_lookup::{Lookup, LookupError};
use outrigger_placement::takes_room;
use outrigger_plan::{Owners, Referenced};

use super::placement::{FoundPlacement, unexplained};
use crate::context::Context;
use crate::placement::{self, ApplicationKey, FoundData};

/// Everything that a decision about an application rests on.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) application: Arc<IntegratedApp>,
    /// The applications of the namespace, this one among them.
    pub(super) applications: Vec<Arc<IntegratedApp>>,
    pub(super) referenced: Referenced,
    /// The pods of the namespace that have sidecars, and those without that this application may
    /// match. None of them has ended.
    pub(super) pods: Vec<FoundPod>,
    /// The ConfigMaps with this application's documents.
    pub(super) config_maps: Vec<Arc<ConfigMap>>,
    /// Whether new pods of the namespace reach the injector.
    pub(super) covered: bool,
    /// Of an application with data.
    pub(super) placement: Option<FoundPlacement>,
}

/// A pod, with those who created it.
#[derive(Clone, Debug)]
pub(super) struct FoundPod {
    pub(super) pod: Arc<Pod>,
    pub(super) owners: Owners,
}

pub(super) async fn read(
    application: &Arc<IntegratedApp>,
    context: &Context,
) -> Result<Found, LookupError> {
    let namespace = application.namespace().unwrap_or_default();
    let name = application.name_any();
    let lookup = &context.lookup;
    let applications = lookup.applications().in_namespace(&namespace);
    let referenced = lookup
        .referenced(&namespace, [application.as_ref()])
        .await?;

    let mut pods = context.pods.in_namespace(&namespace);
    pods.retain(|pod| takes_room(pod));
    let bare = pods_without_sidecars(application, context, &namespace).await?;
    pods.extend(bare.into_iter().map(Arc::new));
    pods.sort_by_key(|pod| pod.name_any());
    let by_workload = applications
        .iter()
        .any(|application| application.spec.workload_ref.is_some());
    let pods = match by_workload {
        true => with_owners(lookup, &namespace, pods).await?,
        false => pods.into_iter().map(without_owners).collect(),
    };

    let mut config_maps = context.config_maps.in_namespace(&namespace);
    config_maps.retain(|found| found.labels().get(APPLICATION_LABEL) == Some(&name));
    config_maps.sort_by_key(|found| found.name_any());
    let placement = placement(application, &pods, context);
    Ok(Found {
        application: Arc::clone(application),
        applications,
        referenced,
        pods,
        config_maps,
        covered: context.covered.borrow().contains(&namespace),
        placement,
    })
}

/// What is known of the places of an application's pods; `pods` in the order of their names.
fn placement(
    application: &IntegratedApp,
    pods: &[FoundPod],
    context: &Context,
) -> Option<FoundPlacement> {
    application.spec.data.as_ref()?;
    let FoundData { found, missing } = placement::data(context, application, Timestamp::now());
    let unexplained = unexplained(application, pods);
    Some(FoundPlacement {
        data: found,
        missing,
        tied: placement::tied(context, unexplained),
        standing: context.standings.get(&ApplicationKey::of(application)),
    })
}

/// The pods that have no sidecars and have not ended, as the API server remembers them; their metadata
/// alone if none of them is to be evicted.
async fn pods_without_sidecars(
    application: &IntegratedApp,
    context: &Context,
    namespace: &str,
) -> Result<Vec<Pod>, LookupError> {
    let selector = application.spec.selector.clone().unwrap_or_default();
    let Ok(mut selector) = Selector::try_from(selector) else {
        // The API server refuses such expressions everywhere else; they match nothing.
        return Ok(Vec::new());
    };
    selector.extend([Expression::DoesNotExist(APPLICATION_LABEL.to_owned())]);
    let parameters = ListParams::default()
        .labels_from(&selector)
        .fields("status.phase!=Succeeded,status.phase!=Failed")
        .match_any();
    let api = Api::<Pod>::namespaced(context.client.clone(), namespace);
    let unknown = |error| LookupError {
        what: format!("pods of namespace {namespace}"),
        error,
    };
    if application.spec.replacement == Some(Replacement::Evict) {
        // How they are and what they are made of decides whether they may go.
        return Ok(api.list(&parameters).await.map_err(unknown)?.items);
    }
    let listed = api.list_metadata(&parameters).await.map_err(unknown)?;
    let pod = |found: PartialObjectMeta<Pod>| Pod {
        metadata: found.metadata,
        ..Pod::default()
    };
    Ok(listed.items.into_iter().map(pod).collect())
}

/// Asks for the owners of each controller's pods once.
async fn with_owners(
    lookup: &Lookup,
    namespace: &str,
    pods: Vec<Arc<Pod>>,
) -> Result<Vec<FoundPod>, LookupError> {
    let mut alike: BTreeMap<Option<String>, Vec<Arc<Pod>>> = BTreeMap::new();
    for pod in pods {
        let controller = Owners::controller(pod.owner_references());
        let controller = controller.map(|owner| format!("{owner:?}"));
        alike.entry(controller).or_default().push(pod);
    }
    let found = alike.into_values().map(|pods| async {
        let references = pods.first().map_or(&[][..], |pod| pod.owner_references());
        let owners = lookup.owners(namespace, references).await?;
        let found = pods.into_iter().map(move |pod| FoundPod {
            pod,
            owners: owners.clone(),
        });
        Ok::<_, LookupError>(found)
    });
    let mut found: Vec<_> = try_join_all(found).await?.into_iter().flatten().collect();
    found.sort_by_key(|found| found.pod.name_any());
    Ok(found)
}

fn without_owners(pod: Arc<Pod>) -> FoundPod {
    FoundPod {
        pod,
        owners: Owners::default(),
    }
}
