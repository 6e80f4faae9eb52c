//! With the strategy Recreate: the controllers of pods that are evicted, and the pods that these are
//! still to create.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use outrigger_api::{IntegrationSidecar, UpdateStrategy};
use outrigger_lookup::LookupError;
use outrigger_plan::{Owners, revision_name};
use outrigger_rollout::{Consumer, carriers};

use super::watched::Watched;
use crate::succession::{self, Controller};

/// The controllers of a sidecar's pods, and whose pods they create.
pub(super) type Known = BTreeMap<String, (OwnerReference, Consumer)>;

/// What is known of the successors of pods.
#[derive(Default)]
pub(super) struct Successors {
    /// The ReplicaSets and StatefulSets of pods, by UID.
    pub(super) controllers: BTreeMap<String, Controller>,
    /// How many pods of a consumer are still to be created.
    pub(super) missing: BTreeMap<Consumer, usize>,
}

/// Reads them, while a rollout evicts pods.
pub(super) async fn read(
    watched: &Watched,
    pods: &[Arc<Pod>],
    sidecar: &IntegrationSidecar,
) -> Result<Successors, LookupError> {
    let name = sidecar.name_any();
    let uid = sidecar.uid().unwrap_or_default();
    let newest = revision_name(&name, &sidecar.spec.image);
    let (swapped, _) = carriers(pods.iter().map(AsRef::as_ref), &name);
    let is_behind = swapped.iter().any(|pod| !pod.has_both(&newest));
    let mut remembered = watched.controllers.recall(&uid);
    let recreates = sidecar.spec.effective_update().strategy == UpdateStrategy::Recreate;
    if !recreates || !is_behind && remembered.is_empty() {
        watched.controllers.remember(&uid, Known::new());
        return Ok(Successors::default());
    }
    for pod in pods {
        let owner = Owners::controller(pod.owner_references());
        if let Some((owner, consumer)) = owner.zip(Consumer::read(pod, &name)) {
            remembered.insert(owner.uid.clone(), (owner.clone(), consumer));
        }
    }
    let namespace = sidecar.namespace().unwrap_or_default();
    let owners = remembered.values().map(|(owner, _)| owner.clone());
    let owners: Vec<_> = owners.collect();
    let client = &watched.context.client;
    let controllers = succession::read(client, &namespace, &owners).await?;
    let present = present(watched, &namespace).await?;
    let mut missing = missing(&remembered, &controllers, &present);
    let shared = watched.context.sharings.get(sidecar);
    let desired = shared.map_or(0, |shared| shared.pods.desired);
    let of_ours = present.get(&uid).copied().unwrap_or_default();
    let unborn = usize::try_from(desired)
        .unwrap_or_default()
        .saturating_sub(of_ours);
    if unborn > 0 {
        missing.insert(Consumer::Shared, unborn);
    }
    let is_open = is_behind || !missing.is_empty();
    remembered.retain(|uid, _| is_open && controllers.contains_key(uid));
    watched.controllers.remember(&uid, remembered);
    Ok(Successors {
        controllers,
        missing,
    })
}

/// How many pods that have not ended each controller has, by its UID.
async fn present(
    watched: &Watched,
    namespace: &str,
) -> Result<BTreeMap<String, usize>, LookupError> {
    let api = Api::<Pod>::namespaced(watched.context.client.clone(), namespace);
    let open = ListParams::default().fields("status.phase!=Succeeded,status.phase!=Failed");
    let found = api
        .list_metadata(&open)
        .await
        .map_err(|error| LookupError {
            what: format!("pods of namespace {namespace}"),
            error,
        })?;
    let mut present = BTreeMap::new();
    for pod in &found.items {
        if let Some(owner) = Owners::controller(pod.owner_references()) {
            *present.entry(owner.uid.clone()).or_default() += 1;
        }
    }
    Ok(present)
}

fn missing(
    remembered: &Known,
    controllers: &BTreeMap<String, Controller>,
    present: &BTreeMap<String, usize>,
) -> BTreeMap<Consumer, usize> {
    let mut missing = BTreeMap::new();
    for (uid, controller) in controllers {
        let found = present.get(uid).copied().unwrap_or_default();
        let lacks = controller.replicas.saturating_sub(found);
        if let Some((_, consumer)) = remembered.get(uid).filter(|_| lacks > 0) {
            *missing.entry(consumer.clone()).or_default() += lacks;
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodTemplateSpec;

    use super::*;

    #[test]
    fn what_a_controller_wants_and_has_not_is_missing_of_its_consumer() {
        let shop = Consumer::Application("shop".to_owned());
        let remembered = ["whole", "short", "empty"].map(|uid| {
            let owner = OwnerReference {
                uid: uid.to_owned(),
                ..OwnerReference::default()
            };
            (uid.to_owned(), (owner, shop.clone()))
        });
        let controllers = ["whole", "short", "empty", "foreign"].map(|uid| {
            let controller = Controller {
                name: uid.to_owned(),
                replicas: 3,
                template: PodTemplateSpec::default(),
                claims: Vec::new(),
            };
            (uid.to_owned(), controller)
        });
        let present = [("whole", 4), ("short", 2)].map(|(uid, count)| (uid.to_owned(), count));
        assert_eq!(
            missing(&remembered.into(), &controllers.into(), &present.into()),
            BTreeMap::from([(shop, 4)])
        );
    }
}
