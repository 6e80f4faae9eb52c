//! Function pods: the slots of a sidecar that several applications share, beside a holder.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, HTTPGetAction, LocalObjectReference, Pod, PodSpec, Probe, Service,
    ServicePort, ServiceSpec, TopologySpreadConstraint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ObjectMeta;
use outrigger_api::{Sharing, SlotResources};
use outrigger_control::{Tenants, layout};
use outrigger_plan::{SharedPlan, revision_for_new_pod};

use crate::annotations::annotations;
use crate::patch::unwritable;
use crate::preflight::pin;
use crate::resident::Resident;
use crate::resources::{Basis, slot_resources};
use crate::slot::restricted;
use crate::{NamespaceRules, Refusal, Settings};

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
    let resident = Resident::of_function_pods(plan);
    let (_, image) = revision_for_new_pod(&plan.sidecar);
    let resources = slot_resources(
        plan.name(),
        plan.sidecar.spec.resources.as_ref(),
        Basis::Other,
        namespace,
    )?;
    let mut spec = PodSpec {
        init_containers: Some(resident.containers(&image, resources.as_ref(), settings)),
        containers: vec![holder(plan, wanted.holder_image, settings, namespace)?],
        volumes: Some(resident.volumes()),
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
            annotations: Some(with_tenants(&resident, wanted.tenants)?),
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

fn with_tenants(
    resident: &Resident<'_>,
    tenants: &Tenants,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut annotations = annotations(std::slice::from_ref(resident))?;
    let key = layout::tenants_annotation(resident.name());
    let text = serde_json::to_string(tenants).map_err(|error| unwritable(&key, &error))?;
    annotations.insert(key, text);
    Ok(annotations)
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
