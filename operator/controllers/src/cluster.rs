//! What only data and placement need of the cluster: nodes, volumes, and all pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{
    Container, ContainerStatus, Node, NodeSpec, NodeStatus, PersistentVolume,
    PersistentVolumeClaim, Pod, PodSpec, PodStatus,
};
use k8s_openapi::api::storage::v1::{StorageClass, VolumeAttachment};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use outrigger_control::layout::APPLICATION_LABEL;
use outrigger_lookup::{Feed, Lookup, Mirror};
use outrigger_placement::Claim;
use tokio_util::sync::CancellationToken;

/// Labels of pods that are kept: which application a pod belongs to, and which of its kind it is.
const POD_LABELS: [&str; 5] = [
    APPLICATION_LABEL,
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "controller-revision-hash",
    "pod-template-hash",
];

/// Conditions of pods that are kept.
const POD_CONDITIONS: [&str; 2] = ["PodResizePending", "PodScheduled"];

/// Nodes, volumes and pods in memory, without what nobody here asks for.
///
/// They are watched from when the first Dataset, or the first IntegratedApp with `data`, appears: a
/// cluster without data pays nothing.
pub(crate) struct Cluster {
    pub(crate) nodes: Mirror<Node>,
    pub(crate) volumes: Mirror<PersistentVolume>,
    pub(crate) claims: Mirror<PersistentVolumeClaim>,
    pub(crate) attachments: Mirror<VolumeAttachment>,
    pub(crate) classes: Mirror<StorageClass>,
    /// The pods that have not ended, of all namespaces.
    pub(crate) pods: Mirror<Pod>,
}

/// Keeps the mirrors of a [`Cluster`] current.
pub(crate) struct ClusterFeeds {
    nodes: Feed<Node>,
    volumes: Feed<PersistentVolume>,
    claims: Feed<PersistentVolumeClaim>,
    attachments: Feed<VolumeAttachment>,
    classes: Feed<StorageClass>,
    pods: Feed<Pod>,
}

impl Cluster {
    /// Empty, with what has to run beside it.
    pub(crate) fn new() -> (Cluster, ClusterFeeds) {
        let (nodes, nodes_feed) = Mirror::new();
        let (volumes, volumes_feed) = Mirror::new();
        let (claims, claims_feed) = Mirror::new();
        let (attachments, attachments_feed) = Mirror::new();
        let (classes, classes_feed) = Mirror::new();
        let (pods, pods_feed) = Mirror::new();
        let cluster = Cluster {
            nodes,
            volumes,
            claims,
            attachments,
            classes,
            pods,
        };
        let feeds = ClusterFeeds {
            nodes: nodes_feed,
            volumes: volumes_feed,
            claims: claims_feed,
            attachments: attachments_feed,
            classes: classes_feed,
            pods: pods_feed,
        };
        (cluster, feeds)
    }

    /// A claim by its name, with all that says where it is.
    pub(crate) fn claim(
        &self,
        namespace: &str,
        name: &str,
        attachments: &[Arc<VolumeAttachment>],
        nodes: &[outrigger_placement::Node],
    ) -> Claim {
        let claim = self.claims.get(namespace, name);
        let spec = claim.as_ref().and_then(|claim| claim.spec.as_ref());
        let volume = spec.and_then(|spec| spec.volume_name.as_deref());
        let volume = volume.and_then(|name| self.volumes.store().get(&ObjectRef::new(name)));
        let class = spec.and_then(|spec| spec.storage_class_name.as_deref());
        let class = class.and_then(|name| self.classes.store().get(&ObjectRef::new(name)));
        Claim::new(
            name,
            claim.as_deref(),
            volume.as_deref(),
            class.as_deref(),
            attachments.iter().map(AsRef::as_ref),
            nodes,
        )
    }

    /// Waits until all of it is known, which is not before somebody has data; whether that came
    /// before the end.
    pub(crate) async fn synced(&self) -> bool {
        self.nodes.synced().await
            && self.volumes.synced().await
            && self.claims.synced().await
            && self.attachments.synced().await
            && self.classes.synced().await
            && self.pods.synced().await
    }
}

impl ClusterFeeds {
    /// Follows the cluster from when somebody has data until `stop`.
    pub(crate) async fn run(self, client: Client, lookup: Arc<Lookup>, stop: CancellationToken) {
        if stop.run_until_cancelled(data(&lookup)).await != Some(true) {
            return;
        }
        let all = watcher::Config::default;
        let living = all().fields("status.phase!=Succeeded,status.phase!=Failed");
        let nodes = watcher::watcher(Api::all(client.clone()), all()).modify(trim_node);
        let volumes = watcher::watcher(Api::all(client.clone()), all()).modify(trim_volume);
        let claims = watcher::watcher(Api::<PersistentVolumeClaim>::all(client.clone()), all())
            .modify(|claim| claim.managed_fields_mut().clear());
        let attachments = watcher::watcher(Api::all(client.clone()), all()).modify(trim_attachment);
        let classes = watcher::watcher(Api::<StorageClass>::all(client.clone()), all())
            .modify(|class| class.managed_fields_mut().clear());
        let pods = watcher::watcher(Api::all(client), living).modify(trim_pod);
        tokio::join!(
            self.nodes.run(nodes, stop.clone()),
            self.volumes.run(volumes, stop.clone()),
            self.claims.run(claims, stop.clone()),
            self.attachments.run(attachments, stop.clone()),
            self.classes.run(classes, stop.clone()),
            self.pods.run(pods, stop),
        );
    }
}

/// Waits for the first Dataset or IntegratedApp with `data`; whether it came before the end.
async fn data(lookup: &Lookup) -> bool {
    let datasets = lookup.datasets().changes().map(|_| true);
    let applications = lookup.applications().changes();
    let applications = applications.map(|application| application.spec.data.is_some());
    any(stream::select(datasets, applications)).await
}

async fn any(mut found: impl Stream<Item = bool> + Unpin) -> bool {
    while let Some(found) = found.next().await {
        if found {
            return true;
        }
    }
    false
}

fn trim_node(node: &mut Node) {
    let metadata = std::mem::take(&mut node.metadata);
    node.metadata = ObjectMeta {
        name: metadata.name,
        uid: metadata.uid,
        labels: metadata.labels,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    };
    node.spec = node.spec.take().map(|spec| NodeSpec {
        taints: spec.taints,
        unschedulable: spec.unschedulable,
        ..NodeSpec::default()
    });
    node.status = node.status.take().map(|status| NodeStatus {
        addresses: status.addresses,
        allocatable: status.allocatable,
        conditions: status.conditions,
        ..NodeStatus::default()
    });
}

fn trim_volume(volume: &mut PersistentVolume) {
    volume.managed_fields_mut().clear();
    volume.annotations_mut().clear();
    let csi = volume.spec.as_mut().and_then(|spec| spec.csi.as_mut());
    if let Some(csi) = csi {
        csi.volume_attributes = None;
    }
}

fn trim_attachment(attachment: &mut VolumeAttachment) {
    attachment.managed_fields_mut().clear();
    attachment.annotations_mut().clear();
    if let Some(status) = &mut attachment.status {
        status.attachment_metadata = None;
    }
}

fn trim_pod(pod: &mut Pod) {
    let metadata = std::mem::take(&mut pod.metadata);
    let mut labels = metadata.labels;
    if let Some(labels) = &mut labels {
        labels.retain(|label, _| POD_LABELS.contains(&label.as_str()));
    }
    pod.metadata = ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        labels,
        owner_references: metadata.owner_references,
        creation_timestamp: metadata.creation_timestamp,
        deletion_timestamp: metadata.deletion_timestamp,
        resource_version: metadata.resource_version,
        ..ObjectMeta::default()
    };
    let status = pod.status.take();
    pod.spec = pod.spec.take().map(|spec| PodSpec {
        containers: spec.containers.into_iter().map(trimmed).collect(),
        init_containers: spec
            .init_containers
            .map(|containers| containers.into_iter().map(trimmed).collect()),
        host_network: spec.host_network,
        hostname: spec.hostname,
        node_name: spec.node_name,
        overhead: spec.overhead,
        priority: spec.priority,
        resources: spec.resources,
        scheduling_gates: spec.scheduling_gates,
        ..PodSpec::default()
    });
    pod.status = status.map(|status| PodStatus {
        phase: status.phase,
        pod_ip: status.pod_ip,
        pod_ips: status.pod_ips,
        conditions: status.conditions.map(|mut conditions| {
            conditions.retain(|condition| POD_CONDITIONS.contains(&condition.type_.as_str()));
            conditions
        }),
        container_statuses: resized(pod, status.container_statuses),
        init_container_statuses: resized(pod, status.init_container_statuses),
        ..PodStatus::default()
    });
}

/// A container's name and requests.
fn trimmed(container: Container) -> Container {
    Container {
        name: container.name,
        resources: container.resources,
        restart_policy: container.restart_policy,
        ..Container::default()
    }
}

/// The statuses of containers that have other requests than they ask for.
fn resized(pod: &Pod, statuses: Option<Vec<ContainerStatus>>) -> Option<Vec<ContainerStatus>> {
    let spec = pod.spec.as_ref();
    let containers = spec.into_iter().flat_map(|spec| {
        let init = spec.init_containers.iter().flatten();
        spec.containers.iter().chain(init)
    });
    let wanted: BTreeMap<&str, _> = containers
        .map(|container| {
            let resources = container.resources.as_ref();
            let requests = resources.and_then(|resources| resources.requests.as_ref());
            (container.name.as_str(), requests)
        })
        .collect();
    let mut statuses = statuses?;
    statuses.retain(|status| {
        let wanted = wanted.get(status.name.as_str()).copied().flatten();
        let resources = status.resources.as_ref();
        let found = resources.and_then(|resources| resources.requests.as_ref());
        let allocated = status.allocated_resources.as_ref();
        [found, allocated]
            .iter()
            .flatten()
            .any(|found| Some(*found) != wanted)
    });
    let statuses = statuses.into_iter().map(|status| ContainerStatus {
        name: status.name,
        resources: status.resources,
        allocated_resources: status.allocated_resources,
        ..ContainerStatus::default()
    });
    Some(statuses.collect())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read<K: serde::de::DeserializeOwned>(value: Value) -> K {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_pod_keeps_what_it_takes_from_its_node() {
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let container = |name: &str, cpu: &str| json!({"name": name, "image": "app:1", "resources": requests(cpu)});
        let mut sidecar = container("side", "30m");
        sidecar["restartPolicy"] = "Always".into();
        let status = |name: &str, cpu: &str| {
            json!({
                "name": name, "image": "app:1", "imageID": "", "ready": true, "restartCount": 0,
                "resources": requests(cpu), "allocatedResources": {"cpu": cpu},
            })
        };
        let whole: Pod = read(json!({
            "metadata": {
                "name": "a", "namespace": "risk", "uid": "u",
                "labels": {"team": "risk", APPLICATION_LABEL: "risk", "apps.kubernetes.io/pod-index": "0"},
                "annotations": {"note": "long"},
            },
            "spec": {
                "nodeName": "node-1",
                "overhead": {"cpu": "5m"},
                "containers": [container("app", "100m"), container("other", "10m")],
                "initContainers": [sidecar, container("first", "1")],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
            "status": {
                "phase": "Running", "podIP": "10.0.0.1",
                "conditions": [
                    {"type": "PodScheduled", "status": "True"},
                    {"type": "Ready", "status": "True"},
                ],
                "containerStatuses": [status("app", "2"), status("other", "10m")],
            },
        }));
        let mut trimmed = whole.clone();
        trim_pod(&mut trimmed);
        assert_eq!(
            outrigger_resources::requests(&trimmed),
            outrigger_resources::requests(&whole)
        );
        let rest: Value = serde_json::to_value(&trimmed).unwrap();
        assert_eq!(
            rest["metadata"]["labels"],
            json!({APPLICATION_LABEL: "risk", "apps.kubernetes.io/pod-index": "0"})
        );
        assert_eq!(
            rest["status"]["containerStatuses"]
                .as_array()
                .unwrap()
                .len(),
            1
        );
        assert_eq!(rest["status"]["conditions"].as_array().unwrap().len(), 1);
        assert_eq!(rest["spec"]["nodeName"], "node-1");
        for gone in [
            "/metadata/annotations",
            "/spec/volumes",
            "/spec/containers/0/image",
        ] {
            assert_eq!(rest.pointer(gone), None, "{gone}");
        }
    }

    #[test]
    fn a_node_keeps_what_decides_about_pods() {
        let whole: Node = read(json!({
            "metadata": {
                "name": "node-1", "uid": "u", "labels": {"zone": "a"},
                "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {"note": "long"},
            },
            "spec": {
                "unschedulable": true, "podCIDR": "10.0.0.0/24",
                "taints": [{"key": "gpu", "effect": "NoSchedule"}],
            },
            "status": {
                "allocatable": {"cpu": "4", "pods": "110"},
                "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
                "conditions": [{"type": "Ready", "status": "True"}],
                "images": [{"names": ["app:1"]}],
            },
        }));
        let mut trimmed = whole.clone();
        trim_node(&mut trimmed);
        let seen = |node: &Node| outrigger_placement::Node::new(node, []);
        assert_eq!(seen(&trimmed), seen(&whole));
        assert!(outrigger_placement::is_ready(&trimmed));
        let rest: Value = serde_json::to_value(&trimmed).unwrap();
        assert_eq!(rest["status"]["addresses"][0]["address"], "10.0.0.1");
        for gone in ["/metadata/annotations", "/spec/podCIDR", "/status/images"] {
            assert_eq!(rest.pointer(gone), None, "{gone}");
        }
    }
}
