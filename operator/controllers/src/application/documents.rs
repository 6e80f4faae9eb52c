use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use outrigger_api::IntegratedApp;
use outrigger_control::layout;
use outrigger_injection::{application, orders};
use outrigger_plan::{ApplicationPlan, Form, SidecarPlan};

use super::read::Found;
use crate::context::{MANAGED_BY_LABEL, MANAGER, SIDECAR_LABEL};

/// What is to become of an application's ConfigMaps.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ConfigMaps {
    /// To be written, whole.
    pub(super) apply: Vec<ConfigMap>,
    /// To be deleted: name and UID.
    pub(super) delete: Vec<(String, String)>,
}

/// The documents that slots may still read, by sidecar.
struct InUse {
    hashes: BTreeMap<String, BTreeSet<String>>,
    /// Sidecars with an order that cannot be read: any document may be in use.
    unknown: BTreeSet<String>,
}

/// Each sidecar with slots in the pods has one ConfigMap with the document of the plan, beside those that orders of pods
/// still name. One of a sidecar that no longer has any goes with the last pod that
/// carries the sidecar.
pub(super) fn decide(found: &Found, plan: &ApplicationPlan) -> ConfigMaps {
    let in_use = InUse::by(found);
    let mut config_maps = ConfigMaps::default();
    for sidecar in &plan.sidecars {
        let Form::Slots(slots) = &sidecar.form else {
            continue;
        };
        let name = layout::config_map_name(&plan.application.name, sidecar.name());
        let mut existing = found.config_maps.iter();
        let existing = existing.find(|config_map| config_map.name_any() == name);
        let existing = existing.map(AsRef::as_ref);
        let Ok(document) = serde_json::to_string(&slots.document) else {
            // Its hash was made from the same form.
            continue;
        };
        let mut data = in_use.former(sidecar, existing);
        data.insert(layout::document_file(&slots.document_hash), document);
        let wanted = config_map(name, &found.application, sidecar, data);
        if !existing.is_some_and(|existing| stands(existing, &wanted)) {
            config_maps.apply.push(wanted);
        }
    }
    for config_map in &found.config_maps {
        let sidecar = config_map.labels().get(SIDECAR_LABEL);
        let sidecar = sidecar.map(String::as_str).unwrap_or_default();
        let is_planned = plan
            .sidecar(sidecar)
            .is_some_and(|planned| matches!(planned.form, Form::Slots(_)));
        if !is_planned && !in_use.carries(sidecar) {
            let uid = config_map.uid().unwrap_or_default();
            config_maps.delete.push((config_map.name_any(), uid));
        }
    }
    config_maps
}

impl InUse {
    fn by(found: &Found) -> InUse {
        let name = found.application.name_any();
        let mut in_use = InUse {
            hashes: BTreeMap::new(),
            unknown: BTreeSet::new(),
        };
        let pods = found.pods.iter().map(|found| &found.pod);
        for pod in pods.filter(|pod| application(pod) == Some(name.as_str())) {
            for (sidecar, order) in orders(pod) {
                let hashes = in_use.hashes.entry(sidecar.clone()).or_default();
                match order {
                    Ok(order) => hashes.extend([order.config.a, order.config.b]),
                    Err(_) => {
                        in_use.unknown.insert(sidecar);
                    }
                }
            }
        }
        in_use
    }

    fn carries(&self, sidecar: &str) -> bool {
        self.hashes.contains_key(sidecar)
    }

    /// The documents of a ConfigMap that are still in use.
    fn former(
        &self,
        sidecar: &SidecarPlan,
        existing: Option<&ConfigMap>,
    ) -> BTreeMap<String, String> {
        let mut documents = existing
            .and_then(|existing| existing.data.clone())
            .unwrap_or_default();
        if !self.unknown.contains(sidecar.name()) {
            let hashes = self.hashes.get(sidecar.name());
            let files: BTreeSet<_> = hashes
                .into_iter()
                .flatten()
                .map(|hash| layout::document_file(hash))
                .collect();
            documents.retain(|file, _| files.contains(file));
        }
        documents
    }
}

fn config_map(
    name: String,
    application: &IntegratedApp,
    sidecar: &SidecarPlan,
    data: BTreeMap<String, String>,
) -> ConfigMap {
    let labels = [
        (MANAGED_BY_LABEL, MANAGER.to_owned()),
        (layout::APPLICATION_LABEL, application.name_any()),
        (SIDECAR_LABEL, sidecar.name().to_owned()),
    ];
    let labels = labels.map(|(key, value)| (key.to_owned(), value));
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: application.namespace(),
            labels: Some(BTreeMap::from(labels)),
            owner_references: Some(owners(application, sidecar)),
            ..ObjectMeta::default()
        },
        data: Some(data),
        ..ConfigMap::default()
    }
}

/// The application and the sidecar: documents outlive the application, because kubelet brings no
/// order to a slot whose ConfigMap is gone, and starts no slot after its own restart. The sidecar's
/// controller deletes them when no pod carries them any more.
fn owners(application: &IntegratedApp, sidecar: &SidecarPlan) -> Vec<OwnerReference> {
    let owners = [
        owner(application, Some(true)),
        owner(&sidecar.sidecar, None),
    ];
    owners.into()
}

fn owner(object: &impl Resource<DynamicType = ()>, controller: Option<bool>) -> OwnerReference {
    let mut owner = object.owner_ref(&()).unwrap_or_default();
    owner.controller = controller;
    owner
}

/// Whether a ConfigMap has all that is wanted, and no other documents. What others added is theirs:
/// an apply would not take it away.
fn stands(found: &ConfigMap, wanted: &ConfigMap) -> bool {
    let (data, labels) = (found.data.as_ref(), found.labels());
    let wanted_data = wanted.data.iter().flatten();
    let has_data = wanted_data
        .into_iter()
        .all(|(file, text)| data.and_then(|data| data.get(file)) == Some(text));
    let mut former = data.into_iter().flatten().filter(|(file, _)| {
        let wanted = wanted.data.as_ref();
        is_document(file) && !wanted.is_some_and(|wanted| wanted.contains_key(*file))
    });
    let mut wanted_labels = wanted.labels().iter();
    has_data
        && former.next().is_none()
        && wanted_labels.all(|(key, value)| labels.get(key) == Some(value))
        && wanted
            .owner_references()
            .iter()
            .all(|owner| found.owner_references().contains(owner))
}

/// Whether a file has the name of a document.
fn is_document(file: &str) -> bool {
    let hash = file.strip_suffix(&layout::document_file(""));
    hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
