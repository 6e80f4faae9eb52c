use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client, Resource, ResourceExt};
use outrigger_lookup::LookupError;
use outrigger_plan::{ControllerKind, Owners};
use serde::de::DeserializeOwned;

/// What creates a pod anew when it is evicted.
#[derive(Clone, Debug)]
pub(crate) struct Controller {
    pub(crate) name: String,
    /// How many pods it wants.
    pub(crate) replicas: usize,
    pub(crate) template: PodTemplateSpec,
    /// Names of the volumes that it adds to the template, each with a claim of the pod's own.
    pub(crate) claims: Vec<String>,
}

/// The UID of a pod's controller.
pub(crate) fn controller_uid(pod: &Pod) -> Option<String> {
    Owners::controller(pod.owner_references()).map(|owner| owner.uid.clone())
}

/// Why the controller of a pod that is not among the known ones does not have it created anew.
pub(crate) fn objection(pod: &Pod) -> String {
    let Some(owner) = Owners::controller(pod.owner_references()) else {
        return "it has no controller that would create another".to_owned();
    };
    let (kind, name) = (&owner.kind, &owner.name);
    match ControllerKind::of(owner) {
        ControllerKind::ReplicaSet | ControllerKind::StatefulSet => {
            format!("{kind} {name} is gone")
        }
        ControllerKind::Job => format!("Job {name} would count it as failed"),
        ControllerKind::DaemonSet => {
            format!("DaemonSet {name} may not get another one onto its node")
        }
        ControllerKind::IntegrationSidecar | ControllerKind::Other => {
            format!("it is of {kind} {name}, and only pods of ReplicaSets and StatefulSets are")
        }
    }
}

/// The ReplicaSets and StatefulSets among some owners, as they are now, by UID.
pub(crate) async fn read(
    client: &Client,
    namespace: &str,
    owners: &[OwnerReference],
) -> Result<BTreeMap<String, Controller>, LookupError> {
    let mut found = BTreeMap::new();
    for owner in owners {
        if found.contains_key(&owner.uid) {
            continue;
        }
        let controller = match ControllerKind::of(owner) {
            ControllerKind::ReplicaSet => {
                let object = get::<ReplicaSet>(client, namespace, owner).await?;
                object.and_then(|object| of_replica_set(&object))
            }
            ControllerKind::StatefulSet => {
                let object = get::<StatefulSet>(client, namespace, owner).await?;
                object.and_then(|object| of_stateful_set(&object))
            }
            _ => None,
        };
        found.insert(owner.uid.clone(), controller);
    }
    let known = found.into_iter();
    Ok(known
        .filter_map(|(uid, controller)| Some((uid, controller?)))
        .collect())
}

async fn get<K>(
    client: &Client,
    namespace: &str,
    owner: &OwnerReference,
) -> Result<Option<K>, LookupError>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let found = api.get_opt(&owner.name).await;
    let found = found.map_err(|error| LookupError {
        what: format!("{} {namespace}/{}", owner.kind, owner.name),
        error,
    })?;
    Ok(found.filter(|found| found.uid().as_ref() == Some(&owner.uid)))
}

fn of_replica_set(object: &ReplicaSet) -> Option<Controller> {
    let spec = object.spec.as_ref()?;
    Some(Controller {
        name: object.name_any(),
        replicas: number(spec.replicas),
        template: spec.template.clone()?,
        claims: Vec::new(),
    })
}

fn of_stateful_set(object: &StatefulSet) -> Option<Controller> {
    let spec = object.spec.as_ref()?;
    let claims = spec.volume_claim_templates.iter().flatten();
    Some(Controller {
        name: object.name_any(),
        replicas: number(spec.replicas),
        template: spec.template.clone(),
        claims: claims.map(ResourceExt::name_any).collect(),
    })
}

/// One, unless it says otherwise.
fn number(replicas: Option<i32>) -> usize {
    usize::try_from(replicas.unwrap_or(1)).unwrap_or_default()
}
