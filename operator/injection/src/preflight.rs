use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, LocalObjectReference, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, Pod, PodSpec, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use outrigger_control::{content_hash, layout};
use outrigger_plan::{ApplicationPlan, SidecarPlan};

use crate::resources::{Basis, slot_resources};
use crate::slot::{common_env, document_mounts, restricted, variable};
use crate::volumes::{control_volume, secret_volumes};
use crate::{NamespaceRules, Refusal, Settings};

/// Name of the only container of a preflight pod.
pub const PREFLIGHT_CONTAINER: &str = "preflight";
/// Seconds that a preflight may take on its node, the pull of the image included.
pub const PREFLIGHT_DEADLINE_SECONDS: i64 = 300;
/// Longest part of a sidecar's name in a preflight's name, so that the whole fits into a label.
const NAME_PART: usize = 36;

/// What a preflight tries, and where.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// The very string that slots are to get.
    pub image: &'a str,
    /// Name of the revision.
    pub revision: &'a str,
    /// The node; without one the scheduler chooses.
    pub node: Option<&'a str>,
    /// A pod of the application. The preflight gets its pull secrets, service account, security
    /// context, name resolution and runtime.
    pub like: Option<&'a Pod>,
}

/// A pod that tries an image with the document of an application, before it reaches any pod. The
/// caller adds the owner reference.
///
/// The scheduler places the pod, pinned by a node affinity, so that it still counts pods and
/// volumes. It requests as little as the namespace allows, 0 as a rule, and on a given node it
/// tolerates every taint: application pods are there already, full or cordoned as the node may be.
/// It has no labels of the application, since a Service or ReplicaSet would take it for one of its
/// pods; a NetworkPolicy that guards the store has to admit [`layout::PREFLIGHT_LABEL`].
pub fn preflight_pod(
    plan: &ApplicationPlan,
    sidecar: &SidecarPlan,
    trial: &Trial<'_>,
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<Pod, Refusal> {
    let like = trial.like.and_then(|pod| pod.spec.as_ref());
    let mut env = common_env(&plan.application, sidecar);
    env.push(variable(layout::ENV_DOCUMENT, &sidecar.document_hash));
    let container = Container {
        name: PREFLIGHT_CONTAINER.into(),
        image: Some(trial.image.to_owned()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(vec![layout::PREFLIGHT_COMMAND.into()]),
        env: Some(env),
        resources: Some(resources(sidecar, namespace)?),
        security_context: Some(restricted(settings)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        volume_mounts: Some(document_mounts(sidecar)),
        ..Container::default()
    };
    let volumes = std::iter::once(control_volume(&plan.application, sidecar, false))
        .chain(secret_volumes(sidecar))
        .collect();
    let mut spec = PodSpec {
        containers: vec![container],
        volumes: Some(volumes),
        restart_policy: Some("Never".into()),
        active_deadline_seconds: Some(PREFLIGHT_DEADLINE_SECONDS),
        termination_grace_period_seconds: Some(5),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(sidecar, like),
        ..PodSpec::default()
    };
    if let Some(like) = like {
        resemble(&mut spec, like);
    }
    if let Some(node) = trial.node {
        pin(&mut spec, node);
    }
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(preflight_name(plan, sidecar, trial)),
            namespace: Some(plan.application.namespace.clone()),
            labels: Some(BTreeMap::from([(
                layout::PREFLIGHT_LABEL.to_owned(),
                trial.revision.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// Name of a preflight pod: the same for the same trial, so that it is not begun twice.
pub fn preflight_name(plan: &ApplicationPlan, sidecar: &SidecarPlan, trial: &Trial<'_>) -> String {
    let identity = (
        &plan.application.name,
        &sidecar.document_hash,
        trial.image,
        trial.revision,
        trial.node,
    );
    // Strings always have a JSON form.
    let hash = content_hash(&identity).unwrap_or_default();
    let name: String = sidecar.name().chars().take(NAME_PART).collect();
    format!("{name}-preflight-{hash}")
}

/// The limits of a slot, so that a limit that is too low shows here, and the least requests.
fn resources(
    sidecar: &SidecarPlan,
    namespace: &NamespaceRules,
) -> Result<ResourceRequirements, Refusal> {
    let wanted = sidecar.sidecar.spec.resources.as_ref();
    let slot = slot_resources(sidecar.name(), wanted, Basis::Other, namespace)?.unwrap_or_default();
    let (mut requests, mut limits) = (
        slot.requests.unwrap_or_default(),
        slot.limits.unwrap_or_default(),
    );
    limits.retain(|name, _| requests.contains_key(name) && is_counted(name));
    requests.retain(|name, _| is_counted(name));
    for (name, request) in &mut requests {
        // A bound on the ratio of limit and request refuses a request of 0.
        if !namespace.max_ratio.contains_key(name) {
            let least = namespace.min.get(name);
            *request = least.cloned().unwrap_or_else(|| Quantity("0".into()));
        }
    }
    Ok(ResourceRequirements {
        requests: Some(requests),
        limits: Some(limits),
        ..ResourceRequirements::default()
    })
}

fn is_counted(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory")
}

fn pull_secrets(
    sidecar: &SidecarPlan,
    like: Option<&PodSpec>,
) -> Option<Vec<LocalObjectReference>> {
    let mut secrets: Vec<LocalObjectReference> = like
        .and_then(|like| like.image_pull_secrets.clone())
        .unwrap_or_default();
    for secret in sidecar.sidecar.spec.image_pull_secrets.iter().flatten() {
        if !secrets.iter().any(|found| found.name == secret.name) {
            secrets.push(LocalObjectReference {
                name: secret.name.clone(),
            });
        }
    }
    (!secrets.is_empty()).then_some(secrets)
}

/// Takes over what decides how an image is pulled, started and connected.
fn resemble(spec: &mut PodSpec, like: &PodSpec) {
    spec.service_account_name = like.service_account_name.clone();
    spec.security_context = like.security_context.clone();
    spec.runtime_class_name = like.runtime_class_name.clone();
    spec.host_users = like.host_users;
    spec.dns_policy = like.dns_policy.clone();
    spec.dns_config = like.dns_config.clone();
    spec.host_aliases = like.host_aliases.clone();
    spec.tolerations = like.tolerations.clone();
    spec.node_selector = like.node_selector.clone();
    let affinity = like.affinity.as_ref();
    spec.affinity = affinity
        .and_then(|affinity| affinity.node_affinity.clone())
        .map(|node_affinity| Affinity {
            node_affinity: Some(node_affinity),
            ..Affinity::default()
        });
}

/// Sends a pod to a node, whatever its taints.
pub(crate) fn pin(spec: &mut PodSpec, node: &str) {
    spec.node_selector = None;
    spec.tolerations = Some(vec![Toleration {
        operator: Some("Exists".into()),
        ..Toleration::default()
    }]);
    let by_name = NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "In".into(),
        values: Some(vec![node.to_owned()]),
    };
    spec.affinity = Some(Affinity {
        node_affinity: Some(NodeAffinity {
            required_during_scheduling_ignored_during_execution: Some(NodeSelector {
                node_selector_terms: vec![NodeSelectorTerm {
                    match_fields: Some(vec![by_name]),
                    ..NodeSelectorTerm::default()
                }],
            }),
            ..NodeAffinity::default()
        }),
        ..Affinity::default()
    });
}
