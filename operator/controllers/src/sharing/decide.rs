use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::ResourceExt;
use outrigger_api::Sharing;
use outrigger_control::{Tenants, content_hash, layout};
use outrigger_injection::Settings;
use outrigger_plan::{ApplicationPlan, InvalidApplication, SharedPlan};

use super::consumers::Consumer;
use super::pods::{self, Change, Situation, Spot, has_label, spot};
use super::read::Found;
use super::tenants::{Told, tenants};
use super::{documents, service};

/// What to do about a shared sidecar that is needed.
pub(super) struct Decision {
    pub(super) plan: SharedPlan,
    /// Hash of what function pods are made from.
    pub(super) shape: String,
    /// To be written, whole.
    pub(super) config_map: Option<ConfigMap>,
    /// To be written, whole.
    pub(super) service: Option<Service>,
    pub(super) pods: Change,
    /// The function pods that are to be told of other tenants.
    pub(super) retold: Vec<(Arc<Pod>, Tenants)>,
    /// Most consumers of one function pod that it cannot be told of.
    pub(super) left_out: usize,
}

/// The plan for all applications that can be planned, and the kept parts of the others.
pub(super) fn plan(found: &Found) -> Result<SharedPlan, InvalidApplication> {
    let (mut plans, mut named) = (Vec::new(), BTreeSet::new());
    let sidecar = found.sidecar.name_any();
    for application in &found.applications {
        match ApplicationPlan::new(application, &found.referenced) {
            Ok(plan) => {
                if plan
                    .sidecars
                    .iter()
                    .any(|planned| planned.name() == sidecar)
                {
                    named.insert(application.name_any());
                }
                plans.push(plan);
            }
            // Its own controller tells of it.
            Err(_) => {
                named.insert(application.name_any());
            }
        }
    }
    let kept = documents::kept(found.config_map.as_deref(), &named, &found.consumers);
    SharedPlan::new(&found.sidecar, &plans, kept)
}

/// Decides by what was read, and by which places have been without consumers for long.
pub(super) fn decide(
    found: &Found,
    plan: SharedPlan,
    wanted: &BTreeMap<Spot, usize>,
    expired: &BTreeSet<Spot>,
    settings: &Settings,
    now: Timestamp,
) -> Decision {
    let shape = shape(&plan, settings);
    let pods = pods::decide(&Situation {
        plan: &plan,
        shape: &shape,
        wanted,
        pods: &found.pods,
        service: found.service.as_deref(),
        expired,
        now,
    });
    let (mut retold, mut left_out) = (Vec::new(), 0);
    let key = layout::tenants_annotation(plan.name());
    for pod in &found.pods {
        let told = told(&found.consumers, &plan, &spot(pod));
        left_out = left_out.max(told.left_out);
        let text = pod.annotations().get(&key);
        let known = text.and_then(|text| serde_json::from_str::<Tenants>(text).ok());
        let is_going = pods.delete.iter().any(|(name, _)| *name == pod.name_any())
            || pod.metadata.deletion_timestamp.is_some();
        if !is_going && (known.as_ref() != Some(&told.tenants) || !has_label(pod)) {
            retold.push((Arc::clone(pod), told.tenants));
        }
    }
    Decision {
        config_map: documents::config_map(&plan, found.config_map.as_deref(), &found.pods),
        service: service::service(
            &plan,
            &shape,
            &found.consumers,
            found.service.as_deref(),
            &pods,
        ),
        shape,
        pods,
        retold,
        left_out,
        plan,
    }
}

/// Who calls a function pod: with `sharing: Node` whoever is on its node, otherwise all.
pub(super) fn told(consumers: &[Consumer], plan: &SharedPlan, spot: &Spot) -> Told {
    let sharing = plan.sidecar.spec.effective_sharing();
    tenants(consumers.iter().filter(|consumer| match (sharing, spot) {
        (Sharing::Node, Spot::Node(node)) => consumer.node.as_ref() == Some(node),
        _ => true,
    }))
}

/// What of the spec a running function pod cannot take over. Image and configuration are not among
/// it: swaps and orders bring those.
fn shape(plan: &SharedPlan, settings: &Settings) -> String {
    let spec = &plan.sidecar.spec;
    let functions = plan.functions.iter();
    let functions: Vec<_> = functions
        .map(|function| (&function.name, function.port))
        .collect();
    let secrets = &plan.secrets;
    let rest = (
        &spec.resources,
        &spec.image_pull_secrets,
        (settings.slot_user, settings.slot_group),
    );
    // All of it was read from JSON. Without credentials it is what it was before there were any.
    let hash = match &spec.credentials {
        None => content_hash(&(functions, secrets, rest.0, rest.1, rest.2)),
        Some(found) => {
            let found = found.effective();
            content_hash(&(functions, secrets, found, rest.0, rest.1, rest.2))
        }
    };
    hash.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shape_with(credentials: serde_json::Value) -> String {
        let mut sidecar = json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegrationSidecar",
            "metadata": {"name": "orders", "namespace": "store", "uid": "u"},
            "spec": {
                "image": "sidecar:1", "sharing": "Node",
                "functions": [{"name": "once", "custom": {}}],
            },
        });
        if !credentials.is_null() {
            sidecar["spec"]["credentials"] = credentials;
        }
        let sidecar = serde_json::from_value(sidecar).unwrap();
        let plan = SharedPlan::new(&sidecar, [], Vec::new()).unwrap();
        shape(&plan, &Settings::default())
    }

    /// Another shape would replace the function pods of whoever upgrades.
    #[test]
    fn without_credentials_it_is_what_it_was_before_there_were_any() {
        let settings = Settings::default();
        let ids = (settings.slot_user, settings.slot_group);
        let made_from = json!([[["once", 15000]], [], null, null, ids]);
        assert_eq!(
            shape_with(serde_json::Value::Null),
            content_hash(&made_from).unwrap()
        );
    }

    #[test]
    fn a_default_that_is_written_down_changes_nothing() {
        let token = |token| json!({"system": {"serviceAccountToken": token}});
        let absent = shape_with(token(json!({"audience": "audit"})));
        let written = json!({"audience": "audit", "expirationSeconds": 3600});
        assert_eq!(shape_with(token(written)), absent);
        let other = json!({"audience": "audit", "expirationSeconds": 7200});
        assert_ne!(shape_with(token(other)), absent);
    }
}
