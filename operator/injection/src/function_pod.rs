//! Function pods: the slots of a sidecar that several applications share, beside a holder.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapProjection, Container, ContainerPort, DownwardAPIProjection, DownwardAPIVolumeFile,
    HTTPGetAction, LocalObjectReference, ObjectFieldSelector, Pod, PodSpec, Probe,
    ProjectedVolumeSource, Service, ServicePort, ServiceSpec, TopologySpreadConstraint, Volume,
    VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use outrigger_api::{Sharing, SlotResources};
use outrigger_control::{Application, Document, Order, PerSlot, Phase, Slot, Tenants, layout};
use outrigger_plan::{SharedPlan, SidecarPlan, revision_for_new_pod};

use crate::patch::unwritable;
use crate::preflight::pin;
use crate::resources::{Basis, RESOURCES_ANNOTATION, slot_resources};
use crate::slot::{restricted, variable};
use crate::volumes::{READ_ONLY, no_token_volume, secret_volumes, shared_volume};
use crate::{NamespaceRules, Refusal, SINCE_CREATION, Settings, slot_container};

/// Name of the container that keeps a function pod running and answers its readiness probe.
pub const HOLDER_CONTAINER: &str = "holder";
/// Argument that starts the holder.
pub const HOLDER_COMMAND: &str = "hold";
/// First port that the holder tries; it takes the first one that no function has.
const HOLDER_PORT: u16 = 15010;
/// Seconds that a function pod may take to end: first the Service turns to another one, then the
/// slots finish their requests.
const TERMINATION_SECONDS: i64 = 60;

/// Where a function pod runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// On a node, beside its consumers, whatever the node's taints.
    Node(&'a str),
    /// Anywhere, apart from the others of its sidecar where that can be.
    Any,
}

/// One function pod.
#[derive(Clone, Copy, Debug)]
pub struct FunctionPod<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it runs.
    pub place: Place<'a>,
    /// Who calls from where, as known at its creation.
    pub tenants: &'a Tenants,
    /// Image of the holder.
    pub holder_image: &'a str,
}

/// A function pod as it is created: it has its slots already. The caller adds the owner reference.
pub fn function_pod(
    plan: &SharedPlan,
    wanted: &FunctionPod<'_>,
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<Pod, Refusal> {
    let sidecar = slots_plan(plan);
    let (_, image) = revision_for_new_pod(&plan.sidecar);
    let resources = slot_resources(
        plan.name(),
        plan.sidecar.spec.resources.as_ref(),
        Basis::Other,
        namespace,
    )?;
    let slots = Slot::BOTH.map(|slot| {
        let mut container = slot_container(
            &sidecar.document.application,
            &sidecar,
            slot,
            &image,
            resources.clone(),
            settings,
        );
        let bind = variable(layout::ENV_BIND, "::");
        container.env.get_or_insert_default().push(bind);
        container
    });
    let mut volumes = vec![control_volume(plan), shared_volume(&sidecar)];
    volumes.extend(secret_volumes(&sidecar));
    volumes.push(no_token_volume());
    let mut spec = PodSpec {
        init_containers: Some(slots.into()),
        containers: vec![holder(plan, wanted.holder_image, settings, namespace)?],
        volumes: Some(volumes),
        termination_grace_period_seconds: Some(TERMINATION_SECONDS),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        image_pull_secrets: pull_secrets(plan),
        ..PodSpec::default()
    };
    match wanted.place {
        Place::Node(node) => pin(&mut spec, node),
        Place::Any => spec.topology_spread_constraints = Some(vec![apart(plan)]),
    }
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(wanted.name.to_owned()),
            namespace: Some(plan.namespace.clone()),
            labels: Some(labels(plan)),
            annotations: Some(annotations(plan, wanted.tenants)?),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    })
}

/// The Service in front of a sidecar's function pods; with `sharing: Node` each client reaches the
/// one on its node. The caller adds the owner reference.
pub fn shared_service(plan: &SharedPlan) -> Service {
    let ports = plan.functions.iter().map(|function| ServicePort {
        name: Some(function.name.clone()),
        port: i32::from(function.port),
        target_port: Some(IntOrString::Int(i32::from(function.port))),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    });
    let policy = match plan.sidecar.spec.effective_sharing() {
        Sharing::Node => "Local",
        Sharing::Pod | Sharing::Namespace => "Cluster",
    };
    Service {
        metadata: ObjectMeta {
            name: Some(layout::shared_service(plan.name())),
            namespace: Some(plan.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            selector: Some(labels(plan)),
            ports: Some(ports.collect()),
            internal_traffic_policy: Some(policy.into()),
            ip_family_policy: Some("PreferDualStack".into()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The shared sidecar as the slots of one pod have it: for no application in particular.
fn slots_plan(plan: &SharedPlan) -> SidecarPlan {
    let document = Document {
        v: Document::VERSION,
        application: Application {
            namespace: plan.namespace.clone(),
            name: String::new(),
        },
        sidecar: plan.name().to_owned(),
        functions: Vec::new(),
        postgresql: None,
    };
    SidecarPlan {
        sidecar: plan.sidecar.clone(),
        functions: plan.functions.clone(),
        containers: None,
        document,
        document_hash: plan.document_hash.clone(),
        secrets: plan.secrets.clone(),
        admin: plan.admin.clone(),
    }
}

/// The container whose probe makes the pod ready while one of its slots serves.
fn holder(
    plan: &SharedPlan,
    image: &str,
    settings: &Settings,
    namespace: &NamespaceRules,
) -> Result<Container, Refusal> {
    let taken = |port: u16| {
        let mut functions = plan.functions.iter();
        functions.any(|function| function.port == port)
            || [plan.admin.a, plan.admin.b].contains(&port)
    };
    let port = (HOLDER_PORT..).find(|port| !taken(*port));
    let port = port.unwrap_or(HOLDER_PORT);
    let amounts = |memory: &str| {
        let cpu = ("cpu".to_owned(), Quantity("5m".into()));
        let memory = ("memory".to_owned(), Quantity(memory.into()));
        BTreeMap::from([cpu, memory])
    };
    let mut limits = amounts("32Mi");
    limits.remove("cpu");
    let little = SlotResources {
        requests: Some(amounts("16Mi")),
        limits: Some(limits),
    };
    Ok(Container {
        name: HOLDER_CONTAINER.into(),
        image: Some(image.to_owned()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(vec![
            HOLDER_COMMAND.into(),
            format!("--port={port}"),
            format!("--slot-port={}", plan.admin.a),
            format!("--slot-port={}", plan.admin.b),
        ]),
        ports: Some(vec![ContainerPort {
            container_port: i32::from(port),
            protocol: Some("TCP".into()),
            ..ContainerPort::default()
        }]),
        readiness_probe: Some(Probe {
            http_get: Some(HTTPGetAction {
                path: Some("/readyz".into()),
                port: IntOrString::Int(i32::from(port)),
                ..HTTPGetAction::default()
            }),
            period_seconds: Some(1),
            timeout_seconds: Some(2),
            failure_threshold: Some(3),
            ..Probe::default()
        }),
        resources: slot_resources(plan.name(), Some(&little), Basis::Other, namespace)?,
        security_context: Some(restricted(settings)),
        termination_message_policy: Some("FallbackToLogsOnError".into()),
        ..Container::default()
    })
}

fn labels(plan: &SharedPlan) -> BTreeMap<String, String> {
    BTreeMap::from([(layout::SHARED_LABEL.to_owned(), plan.name().to_owned())])
}

fn annotations(plan: &SharedPlan, tenants: &Tenants) -> Result<BTreeMap<String, String>, Refusal> {
    let (revision, _) = revision_for_new_pod(&plan.sidecar);
    let order = Order {
        v: Order::VERSION,
        term: 1,
        active: Slot::A,
        config: PerSlot::both(plan.document_hash.clone()),
        revision: PerSlot::both(revision),
        admin: plan.admin.clone(),
        phase: Phase::Rest,
        since: SINCE_CREATION.to_owned(),
        single: false,
        replaced: None,
        notes: Default::default(),
    };
    let order_key = layout::order_annotation(plan.name());
    let order = order
        .to_json()
        .map_err(|error| unwritable(&order_key, &error))?;
    let tenants_key = layout::tenants_annotation(plan.name());
    let tenants =
        serde_json::to_string(tenants).map_err(|error| unwritable(&tenants_key, &error))?;
    let mut annotations = BTreeMap::from([(order_key, order), (tenants_key, tenants)]);
    if let Some(resources) = &plan.sidecar.spec.resources {
        let text = serde_json::to_string(&BTreeMap::from([(plan.name(), resources)]))
            .map_err(|error| unwritable(RESOURCES_ANNOTATION, &error))?;
        annotations.insert(RESOURCES_ANNOTATION.to_owned(), text);
    }
    Ok(annotations)
}

/// The documents, the order, and who calls from where.
fn control_volume(plan: &SharedPlan) -> Volume {
    let file = |path: &str, annotation: &str| DownwardAPIVolumeFile {
        path: path.to_owned(),
        field_ref: Some(ObjectFieldSelector {
            api_version: Some("v1".into()),
            field_path: format!("metadata.annotations['{annotation}']"),
        }),
        ..DownwardAPIVolumeFile::default()
    };
    let documents = VolumeProjection {
        config_map: Some(ConfigMapProjection {
            name: layout::shared_config_map_name(plan.name()),
            ..ConfigMapProjection::default()
        }),
        ..VolumeProjection::default()
    };
    let annotations = VolumeProjection {
        downward_api: Some(DownwardAPIProjection {
            items: Some(vec![
                file(layout::ORDER_FILE, &layout::order_annotation(plan.name())),
                file(
                    layout::TENANTS_FILE,
                    &layout::tenants_annotation(plan.name()),
                ),
            ]),
        }),
        ..VolumeProjection::default()
    };
    Volume {
        name: layout::control_volume(plan.name()),
        projected: Some(ProjectedVolumeSource {
            default_mode: Some(READ_ONLY),
            sources: Some(vec![documents, annotations]),
        }),
        ..Volume::default()
    }
}

/// Prefers nodes that have no function pod of the sidecar.
fn apart(plan: &SharedPlan) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: "kubernetes.io/hostname".into(),
        when_unsatisfiable: "ScheduleAnyway".into(),
        label_selector: Some(LabelSelector {
            match_labels: Some(labels(plan)),
            ..LabelSelector::default()
        }),
        ..TopologySpreadConstraint::default()
    }
}

fn pull_secrets(plan: &SharedPlan) -> Option<Vec<LocalObjectReference>> {
    let secrets = plan.sidecar.spec.image_pull_secrets.as_ref()?;
    let reference = |name: &String| LocalObjectReference { name: name.clone() };
    Some(
        secrets
            .iter()
            .map(|secret| reference(&secret.name))
            .collect(),
    )
}
