use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::ObjectMeta;
use kube::{Resource, ResourceExt};
use outrigger_api::IntegrationSidecar;
use outrigger_control::{SharedDocument, TenantDocument, layout};
use outrigger_injection::orders;
use outrigger_plan::SharedPlan;

use super::consumers::Consumer;
use crate::context::{MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// Annotation of the ConfigMap with a shared sidecar's documents: the hash of the newest one.
const CURRENT_ANNOTATION: &str = "outrigger.dev/current";

/// The hash of the newest document of a shared sidecar, which function pods are to use.
fn current(config_map: &ConfigMap) -> Option<&str> {
    let hash = config_map.annotations().get(CURRENT_ANNOTATION)?;
    let data = config_map.data.as_ref()?;
    data.contains_key(&layout::document_file(hash))
        .then_some(hash)
}

/// The parts of the newest document that may stand: of applications that are `named`, as they use
/// the sidecar or are not valid now, and of those that use it no more but have pods that do.
pub(super) fn kept(
    former: Option<&ConfigMap>,
    named: &BTreeSet<String>,
    consumers: &[Consumer],
) -> Vec<TenantDocument> {
    let document = former.and_then(|former| {
        let file = layout::document_file(current(former)?);
        let text = former.data.as_ref()?.get(&file)?;
        // Whatever was written by hand is written anew.
        serde_json::from_str::<SharedDocument>(text).ok()
    });
    let mut tenants = document.map_or_else(Vec::new, |document| document.tenants);
    tenants.retain(|tenant| {
        let name = &tenant.document.application.name;
        let mut consumers = consumers.iter();
        named.contains(name) || consumers.any(|consumer| consumer.application == *name)
    });
    tenants
}

/// The ConfigMap as it is to be: the newest document, beside those that orders of function pods
/// still name; `None` if it stands.
pub(super) fn config_map(
    plan: &SharedPlan,
    found: Option<&ConfigMap>,
    pods: &[impl AsRef<Pod>],
) -> Option<ConfigMap> {
    let mut data = in_use(plan, found, pods);
    // Its hash was made from the same form.
    let document = serde_json::to_string(&plan.document).ok()?;
    data.insert(layout::document_file(&plan.document_hash), document);
    let labels = [
        (MANAGED_BY_LABEL, MANAGER.to_owned()),
        (SIDECAR_LABEL, plan.name().to_owned()),
    ];
    let current = (CURRENT_ANNOTATION.to_owned(), plan.document_hash.clone());
    let wanted = ConfigMap {
        metadata: ObjectMeta {
            name: Some(layout::shared_config_map_name(plan.name())),
            namespace: Some(plan.namespace.clone()),
            labels: Some(labels.map(|(key, value)| (key.to_owned(), value)).into()),
            annotations: Some(BTreeMap::from([current])),
            owner_references: Some(owners(&plan.sidecar)),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    };
    let stands = found.is_some_and(|found| {
        found.data == wanted.data && has_metadata(&found.metadata, &wanted.metadata)
    });
    (!stands).then_some(wanted)
}

/// The sidecar as the owner of what it needs.
pub(super) fn owners(
    sidecar: &IntegrationSidecar,
) -> Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference> {
    sidecar.controller_owner_ref(&()).into_iter().collect()
}

/// Whether an object has the labels, annotations and owners that are wanted. What others added is
/// theirs.
pub(super) fn has_metadata(found: &ObjectMeta, wanted: &ObjectMeta) -> bool {
    let has = |found: &Option<BTreeMap<String, String>>,
               wanted: &Option<BTreeMap<String, String>>| {
        let mut wanted = wanted.iter().flatten();
        wanted.all(|(key, value)| found.as_ref().and_then(|found| found.get(key)) == Some(value))
    };
    let owners = found.owner_references.as_deref().unwrap_or_default();
    let mut wanted_owners = wanted.owner_references.iter().flatten();
    has(&found.labels, &wanted.labels)
        && has(&found.annotations, &wanted.annotations)
        && wanted_owners.all(|owner| owners.contains(owner))
}

/// The documents that function pods may still read. While an order cannot be read, all of them may.
fn in_use(
    plan: &SharedPlan,
    found: Option<&ConfigMap>,
    pods: &[impl AsRef<Pod>],
) -> BTreeMap<String, String> {
    let data = found.and_then(|found| found.data.clone());
    let mut data = data.unwrap_or_default();
    let mut files = BTreeSet::new();
    for pod in pods {
        match orders(pod.as_ref()).remove(plan.name()) {
            Some(Ok(order)) => {
                files.extend(
                    [order.config.a, order.config.b].map(|hash| layout::document_file(&hash)),
                );
            }
            Some(Err(_)) => return data,
            None => {}
        }
    }
    data.retain(|file, _| files.contains(file));
    data
}
