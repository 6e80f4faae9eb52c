//! The operator's annotations of a new pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Refusal;
use crate::patch::unwritable;
use crate::resident::{Body, Resident};

/// Annotation with the `spec.resources` that a pod's slots were made from: JSON by sidecar. Slots
/// may have other values, which their namespace or another webhook asked for.
pub const RESOURCES_ANNOTATION: &str = "outrigger.dev/resources";
/// Annotation with the names of the variables that containers of images that are not built on the
/// chassis were given: JSON by sidecar. They may have others, from other webhooks.
pub const ENVIRONMENT_ANNOTATION: &str = "outrigger.dev/environment";

/// The annotations that go with the residents of a pod.
pub(crate) fn annotations(residents: &[Resident<'_>]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut annotations = BTreeMap::new();
    let (mut resources, mut environment) = (BTreeMap::new(), BTreeMap::new());
    for resident in residents {
        let key = layout::order_annotation(resident.name());
        let order = resident.first_order().to_json();
        annotations.insert(
            key.clone(),
            order.map_err(|error| unwritable(&key, &error))?,
        );
        if let Some(wanted) = &resident.sidecar.spec.resources {
            resources.insert(resident.name(), wanted);
        }
        if let Body::Foreign(foreign) = resident.body {
            let variables = foreign.env.iter().flatten();
            let names: Vec<_> = variables.map(|variable| &variable.name).collect();
            if !names.is_empty() {
                environment.insert(resident.name(), names);
            }
        }
    }
    if !resources.is_empty() {
        annotations.insert(
            RESOURCES_ANNOTATION.into(),
            text(RESOURCES_ANNOTATION, &resources)?,
        );
    }
    if !environment.is_empty() {
        let text = text(ENVIRONMENT_ANNOTATION, &environment)?;
        annotations.insert(ENVIRONMENT_ANNOTATION.into(), text);
    }
    Ok(annotations)
}

/// What an annotation of a pod says of a sidecar.
pub(crate) fn recorded<T: DeserializeOwned>(pod: &Pod, key: &str, sidecar: &str) -> Option<T> {
    let text = pod.annotations().get(key)?;
    let mut by_sidecar: BTreeMap<String, T> = serde_json::from_str(text).ok()?;
    by_sidecar.remove(sidecar)
}

fn text(key: &str, value: &impl Serialize) -> Result<String, Refusal> {
    serde_json::to_string(value).map_err(|error| unwritable(key, &error))
}
