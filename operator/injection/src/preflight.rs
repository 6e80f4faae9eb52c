use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, Container, LocalObjectReference, NodeAffinity, NodeSelector, NodeSelectorRequirement,
    NodeSelectorTerm, Pod, PodSpec, ResourceRequirements, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::ObjectMeta;
use outrigger_control::{content_hash, layout};

use crate::credentials::{credential_mounts, credential_volumes};
use crate::resident::{Body, Host, Resident, Slots};
use crate::resources::{Basis, slot_resources};
use crate::slot::{common_env, document_mounts, mount, restricted, variable};
use crate::volumes::{control_volume, empty_volume, secret_volumes};
use crate::{NamespaceRules, Refusal, Settings};

/// Name of the container of a preflight pod that has the image.
pub const PREFLIGHT_CONTAINER: &str = "preflight";
/// Seconds that a preflight may take on its node, the pull of the image included.
pub const PREFLIGHT_DEADLINE_SECONDS: i64 = 300;
/// Argument of the operator's program: copies the program itself to the path that follows.
pub const COPY_COMMAND: &str = "copy-to";
/// Argument of the operator's program: ends at once, with exit code 0.
pub const PULLED_COMMAND: &str = "pulled";
/// Name of the init container that copies the program.
const COPY_CONTAINER: &str = "program";
const PROGRAM_VOLUME: &str = "outrigger-program";
/// Where the program is in both containers; a path that images hardly have.
const PROGRAM_DIR: &str = "/outrigger-preflight";
/// Room for the program.
const PROGRAM_SIZE: &str = "128Mi";
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

/// A pod that tries an image before it reaches any pod. The caller adds the owner reference. That
/// its container [`PREFLIGHT_CONTAINER`] ends with exit code 0 is the success.
///
/// An image that is built on the chassis tries the configuration. Of any other the pod shows that it
/// was pulled and that a container of it starts, without running anything of it: the operator's own
/// program, which an init container puts into an empty volume, runs in it and ends. Whether the
/// image's entry point runs shows in the first pod that gets it.
///
/// The scheduler places the pod, pinned by a node affinity, so that it still counts pods and
/// volumes. It requests as little as the namespace allows, 0 as a rule, and on a given node it
/// tolerates every taint: application pods are there already, full or cordoned as the node may be.
/// It has no labels of the application, since a Service or ReplicaSet would take it for one of its
/// pods; a NetworkPolicy that guards the store has to admit [`layout::PREFLIGHT_LABEL`].
pub fn preflight_pod(
    resident: &Resident<'_>,
    trial: &Trial<'_>,
    operator_image: &str,
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<Pod, Refusal> {
    let like = trial.like.and_then(|pod| pod.spec.as_ref());
    let resources = resources(resident, namespace)?;
    let container = |name: &str, image: &str| Container {
        name: name.into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".into()),
        resources: Some(resources.clone()),
        security_context: Some(restricted(settings)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    };
    let tried = container(PREFLIGHT_CONTAINER, trial.image);
    let mut spec = match resident.body {
        Body::Slots(slots) => with_document(resident, &slots, tried),
        Body::Foreign(_) => with_program(tried, container(COPY_CONTAINER, operator_image)),
    };
    spec.image_pull_secrets = pull_secrets(resident, like);
    if let Some(like) = like {
        resemble(&mut spec, like);
    }
    if let Some(node) = trial.node {
        pin(&mut spec, node);
    }
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(preflight_name(resident, trial)),
            namespace: Some(resident.namespace.to_owned()),
            labels: Some(BTreeMap::from([(
                layout::PREFLIGHT_LABEL.to_owned(),
                trial.revision.to_owned(),
            )])),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            restart_policy: Some("Never".into()),
            active_deadline_seconds: Some(PREFLIGHT_DEADLINE_SECONDS),
            termination_grace_period_seconds: Some(5),
            automount_service_account_token: Some(false),
            enable_service_links: Some(false),
            ..spec
        }),
        status: None,
    })
}

/// Name of a preflight pod: the same for the same trial, so that it is not begun twice.
pub fn preflight_name(resident: &Resident<'_>, trial: &Trial<'_>) -> String {
    let application = match resident.body {
        Body::Slots(Slots {
            host: Host::Application { name, .. },
            ..
        }) => name,
        Body::Slots(_) | Body::Foreign(_) => "",
    };
    let identity = (
        application,
        resident.document_hash(),
        &resident.sidecar.spec.credentials,
        trial.image,
        trial.revision,
        trial.node,
    );
    // Strings always have a JSON form.
    let hash = content_hash(&identity).unwrap_or_default();
    let name: String = resident.name().chars().take(NAME_PART).collect();
    format!("{name}-preflight-{hash}")
}

/// The image tries its configuration.
fn with_document(resident: &Resident<'_>, slots: &Slots<'_>, tried: Container) -> PodSpec {
    let mut env = common_env(resident, slots);
    env.push(variable(layout::ENV_DOCUMENT, slots.document_hash));
    let volumes = std::iter::once(control_volume(resident.name(), slots, &[]))
        .chain(secret_volumes(slots))
        .chain(credential_volumes(resident.sidecar));
    let mut mounts = document_mounts(resident.name(), slots);
    mounts.extend(credential_mounts(resident.sidecar));
    PodSpec {
        containers: vec![Container {
            args: Some(vec![layout::PREFLIGHT_COMMAND.into()]),
            env: Some(env),
            volume_mounts: Some(mounts),
            ..tried
        }],
        volumes: Some(volumes.collect()),
        ..PodSpec::default()
    }
}

/// A program of ours is put beside the image, and runs in it.
fn with_program(tried: Container, copy: Container) -> PodSpec {
    let program = format!("{PROGRAM_DIR}/outrigger");
    PodSpec {
        init_containers: Some(vec![Container {
            args: Some(vec![COPY_COMMAND.into(), program.clone()]),
            volume_mounts: Some(vec![mount(PROGRAM_VOLUME, PROGRAM_DIR, false)]),
            ..copy
        }]),
        containers: vec![Container {
            command: Some(vec![program, PULLED_COMMAND.into()]),
            volume_mounts: Some(vec![mount(PROGRAM_VOLUME, PROGRAM_DIR, true)]),
            ..tried
        }],
        volumes: Some(vec![empty_volume(PROGRAM_VOLUME.into(), PROGRAM_SIZE)]),
        ..PodSpec::default()
    }
}

/// The limits of a slot, so that a limit that is too low shows here, and the least requests.
fn resources(
    resident: &Resident<'_>,
    namespace: &NamespaceRules,
) -> Result<ResourceRequirements, Refusal> {
    let wanted = resident.sidecar.spec.resources.as_ref();
    let slot =
        slot_resources(resident.name(), wanted, Basis::Other, namespace)?.unwrap_or_default();
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
    resident: &Resident<'_>,
    like: Option<&PodSpec>,
) -> Option<Vec<LocalObjectReference>> {
    let mut secrets: Vec<LocalObjectReference> = like
        .and_then(|like| like.image_pull_secrets.clone())
        .unwrap_or_default();
    for secret in resident.sidecar.spec.image_pull_secrets.iter().flatten() {
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
