//! A namespace with files in HDFS, a Dataset of them, and an application that reads them.

use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams};
use outrigger_api::{Dataset, DatasetStatus, IntegratedApp, PlacedPod, PlacementStatus};
use outrigger_e2e::cluster;
use outrigger_e2e::locality::{BLOCK, Held};
use outrigger_e2e::shop::condition_is;
use outrigger_lab::{FileSpec, Hdfs, LocalVolume, NameNode};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::scene::{PATIENCE, Scene};

/// Name of the Dataset.
pub(crate) const DATASET: &str = "data";
/// Name of the IntegratedApp and of its workload.
pub(crate) const APPLICATION: &str = "reader";
/// Labels of the application's pods.
pub(crate) const SELECTOR: &str = "app=reader";

/// What a test of placement stands on.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) scene: Scene<'a>,
    pub(crate) hdfs: &'a Hdfs,
}

impl<'a> Ground<'a> {
    /// An empty namespace, and HDFS.
    pub(crate) async fn new(scene: Scene<'a>) -> anyhow::Result<Ground<'a>> {
        let hdfs = scene.stage.hdfs().await?;
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace},
        });
        scene.cluster().apply_one(&namespace).await?;
        Ok(Ground { scene, hdfs })
    }

    /// Does something with HDFS that takes a while.
    pub(crate) fn hdfs<T>(
        &self,
        work: impl FnOnce(&Hdfs) -> Result<T, outrigger_lab::Error>,
    ) -> anyhow::Result<T> {
        block_in_place(|| Ok(work(self.hdfs)?))
    }

    /// The directory of the test's files.
    pub(crate) fn directory(&self) -> String {
        format!("/e2e/{}", self.scene.namespace)
    }

    /// Writes the test's file: so many blocks on so many nodes each, by their numbers from 1.
    pub(crate) fn put(&self, runs: &[(usize, &[usize])]) -> anyhow::Result<Held> {
        let blocks = runs.iter().flat_map(|(count, nodes)| {
            let nodes: Vec<usize> = nodes.iter().map(|number| number - 1).collect();
            std::iter::repeat_n(nodes, *count)
        });
        let path = format!("{}/file", self.directory());
        let file = FileSpec::new(path, BLOCK, blocks.collect());
        self.hdfs(|hdfs| hdfs.put(&[file]))?;
        self.held(&self.directory())
    }

    /// Where `hdfs fsck` finds a path.
    pub(crate) fn held(&self, path: &str) -> anyhow::Result<Held> {
        Ok(Held::of(&self.hdfs(|hdfs| hdfs.fsck(path))?))
    }

    /// A Dataset of paths, which is looked at again as often as can be.
    pub(crate) fn dataset(&self, paths: &[String]) -> Value {
        let name_nodes = [NameNode::First, NameNode::Second].map(NameNode::url);
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "Dataset",
            "metadata": {"name": DATASET, "namespace": self.scene.namespace},
            "spec": {
                "hdfs": {"nameNodes": name_nodes, "paths": paths},
                "refresh": {"intervalSeconds": 5},
            },
        })
    }

    /// An IntegratedApp that reads the Dataset.
    pub(crate) fn application(&self, kind: &str, locality: Value) -> Value {
        let group = if kind == "Job" { "batch/v1" } else { "apps/v1" };
        let mut locality = locality;
        locality["thresholdBytes"] = json!(1);
        json!({
            "apiVersion": "outrigger.dev/v1alpha1", "kind": "IntegratedApp",
            "metadata": {"name": APPLICATION, "namespace": self.scene.namespace},
            "spec": {
                "workloadRef": {"apiVersion": group, "kind": kind, "name": APPLICATION},
                "data": [{"dataset": DATASET}],
                "locality": locality,
            },
        })
    }

    /// Applies the Dataset of all files of the test and an application with a Deployment, and waits
    /// until new pods are placed.
    pub(crate) async fn open(&self, locality: Value) -> anyhow::Result<()> {
        let objects = [
            self.dataset(&[self.directory()]),
            self.application("Deployment", locality),
        ];
        self.scene.cluster().apply(&objects).await?;
        self.located(|_| true).await?;
        self.scene.ready_application(APPLICATION).await
    }

    /// A pod's template: it sleeps, and asks for so much CPU.
    pub(crate) fn template(&self, cpu: &str) -> Value {
        json!({
            "metadata": {"labels": {"app": APPLICATION}},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": false,
                "containers": [{
                    "name": "reader",
                    "image": self.scene.stage.tools.reference,
                    "command": ["/bin/busybox", "sleep", "3600"],
                    "resources": {"requests": {"cpu": cpu}},
                }],
            },
        })
    }

    /// The application's Deployment.
    pub(crate) fn deployment(&self, replicas: u32) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": APPLICATION, "namespace": self.scene.namespace},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": {"app": APPLICATION}},
                "template": self.template("10m"),
            },
        })
    }

    /// Applies an object.
    pub(crate) async fn apply(&self, object: &Value) -> anyhow::Result<()> {
        self.scene.cluster().apply_one(object).await.map(drop)
    }

    /// A claim with the label `app: disk` that is bound to a directory of a node, and its volume.
    pub(crate) async fn bound_claim(
        &self,
        node: &str,
        name: &str,
    ) -> anyhow::Result<(LocalVolume, Value)> {
        let namespace = self.scene.namespace;
        let volume = LocalVolume::new(namespace, node, "1Gi").for_claim(namespace, name);
        let lab = &self.scene.stage.site.lab;
        block_in_place(|| {
            lab.remove_local_volume(&volume.name)?;
            lab.create_local_volume(&volume)
        })?;
        let claim = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace, "labels": {"app": "disk"}},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "local",
                "volumeName": volume.name,
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        self.apply(&claim).await?;
        let claims = self.scene.cluster().objects(namespace);
        cluster::wait(&claims, name, "Bound", PATIENCE, is_bound).await?;
        Ok((volume, claim))
    }

    /// Waits until so many pods of the application, and no others, are on nodes.
    pub(crate) async fn on_nodes(&self, count: usize) -> anyhow::Result<Vec<Pod>> {
        self.all_on_nodes(SELECTOR, count).await
    }

    /// The same for pods with other labels.
    pub(crate) async fn all_on_nodes(
        &self,
        selector: &str,
        count: usize,
    ) -> anyhow::Result<Vec<Pod>> {
        let what = format!("{count} pods on nodes");
        let pods = self.scene.pods();
        cluster::wait_all(&pods, selector, &what, PATIENCE, |pods| {
            let there = pods
                .iter()
                .all(|pod: &Pod| node(pod).is_some() && pod.metadata.deletion_timestamp.is_none());
            pods.len() == count && there
        })
        .await
    }

    /// Deletes the application's only pod, and waits until another one is on a node.
    pub(crate) async fn another(&self) -> anyhow::Result<Pod> {
        let mut pods = self.on_nodes(1).await?;
        let old = pods.remove(0);
        let at_once = DeleteParams::default().grace_period(0);
        self.scene.pods().delete(&old.name_any(), &at_once).await?;
        let mut pods = self.on_nodes(1).await?;
        // The watch may have begun before the deletion.
        if pods[0].uid() == old.uid() {
            cluster::gone(&self.scene.pods(), &old.name_any(), PATIENCE).await?;
            pods = self.on_nodes(1).await?;
        }
        Ok(pods.remove(0))
    }

    /// The Datasets.
    pub(crate) fn datasets(&self) -> Api<Dataset> {
        self.scene.cluster().objects(self.scene.namespace)
    }

    /// Waits until the Dataset is Ready and something holds of its status.
    pub(crate) async fn located(
        &self,
        mut holds: impl FnMut(&DatasetStatus) -> bool,
    ) -> anyhow::Result<DatasetStatus> {
        self.looked_at("what is where", |status| {
            condition_is(&status.conditions, "Ready", "True") && holds(status)
        })
        .await
    }

    /// Waits until something holds of the status of the Dataset's newest spec.
    pub(crate) async fn looked_at(
        &self,
        what: &str,
        mut holds: impl FnMut(&DatasetStatus) -> bool,
    ) -> anyhow::Result<DatasetStatus> {
        let api = self.datasets();
        let found = cluster::wait(&api, DATASET, what, PATIENCE, |found: &Dataset| {
            let status = found.status.as_ref();
            status.is_some_and(|status| {
                status.observed_generation == found.metadata.generation && holds(status)
            })
        });
        found.await?.status.context("no status")
    }

    /// Waits until something holds of what the IntegratedApp says of its pods' places.
    pub(crate) async fn told(
        &self,
        what: &str,
        mut holds: impl FnMut(&PlacementStatus) -> bool,
    ) -> anyhow::Result<PlacementStatus> {
        let api = self.scene.cluster().objects(self.scene.namespace);
        let placement = |app: &IntegratedApp| app.status.as_ref()?.placement.clone();
        let found = cluster::wait(&api, APPLICATION, what, PATIENCE, |app| {
            placement(app).is_some_and(|found| holds(&found))
        });
        placement(&found.await?).context("no placement")
    }

    /// Waits for what is said of a pod on its node.
    pub(crate) async fn told_of(&self, pod: &Pod) -> anyhow::Result<PlacedPod> {
        let name = pod.name_any();
        let of_pod = |placement: &PlacementStatus| {
            let mut pods = placement.pods.iter();
            pods.find(|placed| placed.pod == name).cloned()
        };
        let what = format!("the place of {name}");
        let found = self.told(&what, |placement| of_pod(placement).is_some());
        of_pod(&found.await?).context("it has gone")
    }

    /// Waits until a pod is said to wait, with these words.
    pub(crate) async fn waits(&self, words: &[&str]) -> anyhow::Result<String> {
        let reason = |placement: &PlacementStatus| {
            let mut waiting = placement.waiting.iter();
            let found = waiting.find(|pod| words.iter().all(|word| pod.reason.contains(word)));
            found.map(|pod| pod.reason.clone())
        };
        let what = format!("a pod that waits with the words {words:?}");
        let found = self.told(&what, |placement| reason(placement).is_some());
        reason(&found.await?).context("it does not wait any more")
    }

    /// The nodes.
    pub(crate) fn nodes(&self) -> Api<Node> {
        self.scene.cluster().cluster_objects()
    }
}

/// The node that a pod is on.
pub(crate) fn node(pod: &Pod) -> Option<&str> {
    let name = pod.spec.as_ref()?.node_name.as_deref();
    name.filter(|name| !name.is_empty())
}

/// Whether each word is in a text.
pub(crate) fn assert_says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
}

/// The number of a lab's node in its name.
pub(crate) fn numbered(number: usize) -> String {
    format!("node-{number}")
}

/// Sum over pods of what their nodes hold of their data.
pub(crate) fn local_bytes<'p>(
    pods: impl IntoIterator<Item = &'p Pod>,
    held: impl Fn(&Pod) -> Held,
) -> u64 {
    let local = |pod: &Pod| node(pod).map_or(0, |node| held(pod).on(node));
    pods.into_iter().map(local).sum()
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Bound")
}
