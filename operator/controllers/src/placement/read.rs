use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use outrigger_api::{IntegratedApp, Split};
use outrigger_control::layout::APPLICATION_LABEL;
use outrigger_placement::{
    AppPod, Avoided, Claim, Data, DataState, Explanation, Locality, Node, Reserved, Situation,
    claim_names, is_gated, room, takes_room,
};

use super::workload;
use crate::context::Context;
use crate::dataset::DatasetKey;

/// A pod that was let go and is not bound keeps its room on the node that it was sent to for so long.
/// One that waits for longer waits for something else, and would keep the others away for ever.
const RESERVED_FOR: SignedDuration = SignedDuration::from_secs(600);

/// Namespace and name of an IntegratedApp.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ApplicationKey {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl ApplicationKey {
    pub(crate) fn of(application: &IntegratedApp) -> ApplicationKey {
        ApplicationKey {
            namespace: application.namespace().unwrap_or_default(),
            name: application.name_any(),
        }
    }

    /// The application that a pod carries the label of.
    pub(super) fn of_pod(pod: &Pod) -> Option<ApplicationKey> {
        Some(ApplicationKey {
            namespace: pod.namespace()?,
            name: pod.labels().get(APPLICATION_LABEL)?.clone(),
        })
    }

    pub(super) fn reference(&self) -> ObjectRef<IntegratedApp> {
        ObjectRef::new(&self.name).within(&self.namespace)
    }
}

/// Everything that a decision about an application's pods rests on.
pub(super) async fn situation(
    context: &Context,
    application: &IntegratedApp,
    pods: &[Arc<Pod>],
    avoided: Vec<Avoided>,
    leading_since: Timestamp,
    now: Timestamp,
) -> Situation {
    let key = ApplicationKey::of(application);
    let (own, others): (Vec<_>, Vec<_>) = pods
        .iter()
        .cloned()
        .partition(|pod| ApplicationKey::of_pod(pod).as_ref() == Some(&key));
    let nodes: Arc<[Node]> = nodes(context, pods).into();
    let workload = workload::read(context, application, &own).await;
    let placed = others.iter().filter(|pod| is_placed(context, pod));
    let reserved = placed.filter_map(|pod| reserved(pod, now));
    let attachments = context.cluster.attachments.store().state();
    let own = own.into_iter().map(|pod| AppPod {
        claims: match node_of(&pod) {
            Some(_) => Vec::new(),
            None => claims(context, &pod, &attachments, &nodes),
        },
        replaceable: workload.replaceable(&pod),
        pod,
    });
    Situation {
        application: key.name.clone(),
        locality: Locality::of(application.spec.locality.as_ref()),
        pods: own.collect(),
        nodes,
        workload: workload.wanted,
        data: data(context, application, leading_since).found,
        reserved: reserved.collect(),
        avoided,
        now,
    }
}

/// What is known of an application's data.
#[derive(Clone, Debug, Default)]
pub(crate) struct FoundData {
    pub(crate) found: Vec<Data>,
    /// Names of Datasets that do not exist.
    pub(crate) missing: Vec<String>,
}

/// What is known of an application's data, by a leader that looks at them since then.
pub(crate) fn data(
    context: &Context,
    application: &IntegratedApp,
    leading_since: Timestamp,
) -> FoundData {
    let namespace = application.namespace().unwrap_or_default();
    let mut data = FoundData::default();
    for hint in application.spec.data.iter().flatten() {
        let Some(dataset) = context.lookup.datasets().get(&namespace, &hint.dataset) else {
            data.missing.push(hint.dataset.clone());
            continue;
        };
        let key = DatasetKey {
            namespace: namespace.clone(),
            name: hint.dataset.clone(),
        };
        let known = context.locations.get(&key);
        let known = known.filter(|known| dataset.uid().as_ref() == Some(&known.uid));
        let state = known.map_or_else(
            || {
                let created = dataset.creation_timestamp().map(|created| created.0);
                let since = created.map_or(leading_since, |created| created.max(leading_since));
                DataState::NotScannedYet { since }
            },
            |known| known.state,
        );
        data.found.push(Data {
            dataset: hint.dataset.clone(),
            weight: u32::try_from(hint.weight.unwrap_or(1)).unwrap_or(1),
            split: match hint.split {
                None => outrigger_placement::Split::All,
                Some(Split::ByIndex) => outrigger_placement::Split::ByIndex,
            },
            state,
        });
    }
    data
}

/// The nodes with what is free. A pod counts where one of the mirrors shows it bound.
fn nodes(context: &Context, pods: &[Arc<Pod>]) -> Vec<Node> {
    let mut on: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
    let mut seen = HashSet::new();
    let all = context.cluster.pods.store().state();
    for pod in all.iter().chain(pods) {
        if let Some(node) = node_of(pod)
            && seen.insert(pod.uid())
        {
            on.entry(node.to_owned()).or_default().push(Arc::clone(pod));
        }
    }
    let nodes = context.cluster.nodes.store().state();
    let nodes = nodes.iter().map(|node| {
        let pods = on.get(&node.name_any());
        let pods = pods.into_iter().flatten().map(AsRef::as_ref);
        Node::new(node, pods)
    });
    nodes.collect()
}

/// The node that a pod is on.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    let name = pod.spec.as_ref()?.node_name.as_deref()?;
    (!name.is_empty()).then_some(name)
}

/// Whether a pod's explanation can be ours: where no application is, pods get what annotations their
/// creators like.
fn is_placed(context: &Context, pod: &Pod) -> bool {
    let applications = context.lookup.applications().store();
    let application =
        ApplicationKey::of_pod(pod).and_then(|key| applications.get(&key.reference()));
    application.is_some_and(|application| application.spec.data.is_some())
}

/// The room of a pod that was sent to a node a while ago and is not there yet.
fn reserved(pod: &Pod, now: Timestamp) -> Option<Reserved> {
    let waits = !is_gated(pod) && node_of(pod).is_none() && takes_room(pod);
    let explanation = Explanation::of(pod).filter(|_| waits)?.ok()?;
    // The clock of a former leader may be ahead, but not by much.
    if now.duration_since(explanation.since).abs() >= RESERVED_FOR {
        return None;
    }
    Some(Reserved {
        node: explanation.node?,
        pod_uid: pod.uid()?,
        requests: room(pod),
    })
}

/// Of pods on nodes, the claim that can be mounted on the pod's node alone, by the pod's name.
pub(crate) fn tied<'a>(
    context: &Context,
    pods: impl Iterator<Item = &'a Pod>,
) -> BTreeMap<String, String> {
    let with_claims = pods.filter(|pod| !claim_names(pod).is_empty());
    let mut with_claims = with_claims.peekable();
    if with_claims.peek().is_none() {
        return BTreeMap::new();
    }
    let nodes = context.cluster.nodes.store().state();
    let nodes: Vec<_> = nodes.iter().map(|node| Node::new(node, [])).collect();
    let attachments = context.cluster.attachments.store().state();
    let tied = with_claims.filter_map(|pod| {
        let node = node_of(pod)?;
        let mut claims = claims(context, pod, &attachments, &nodes).into_iter();
        let claim = claims.find(|claim| claim.only_node(&nodes) == Some(node))?;
        Some((pod.name_any(), claim.name))
    });
    tied.collect()
}

fn claims(
    context: &Context,
    pod: &Pod,
    attachments: &[Arc<VolumeAttachment>],
    nodes: &[Node],
) -> Vec<Claim> {
    let namespace = pod.namespace().unwrap_or_default();
    let claim = |name: &String| context.cluster.claim(&namespace, name, attachments, nodes);
    claim_names(pod).iter().map(claim).collect()
}
