//! The risk example in the cluster: its data in HDFS and on nodes' disks, and where its pods are.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use outrigger_api::conditions::READY;
use outrigger_api::{Dataset, IntegratedApp, PlacementStatus};
use outrigger_lab::{FileSpec, Hdfs, Lab, LocalVolume, NameNode, Progress, Shape};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::cluster::{self, Cluster};
use crate::example::Example;
use crate::images::Image;
use crate::install::is_rolled_out;
use crate::locality::Held;
use crate::report::{Found, Placement};
use crate::shop::condition_is;
use crate::site::Site;

/// The Deployment that reads HDFS, and its Dataset.
pub const MARKET: &str = "market";
/// The IntegratedApp of the Deployment.
pub const APPLICATION: &str = "risk";
/// The StatefulSet that reads its own volumes, its IntegratedApp and its Dataset.
pub const POSITIONS: &str = "positions";
/// The directory of the Deployment's data.
pub const DIRECTORY: &str = "/market";

/// Bytes of a volume.
const CAPACITY: &str = "1Gi";
const CAPACITY_BYTES: u64 = 1 << 30;
const PATIENCE: Duration = Duration::from_secs(120);

/// The example in one namespace.
#[derive(Clone, Debug)]
pub struct Risk {
    cluster: Cluster,
    namespace: String,
}

/// The HDFS that is up, or one with one NameNode. The example knows one name of it, and the
/// NameNode of that name is the active one.
///
/// # Errors
/// When it does not start.
pub fn hdfs(lab: &Lab, progress: &Progress) -> anyhow::Result<Hdfs> {
    block_in_place(|| {
        let shape = lab.hdfs().map_or(Shape::Single, |hdfs| hdfs.shape());
        let hdfs = lab.hdfs_up(shape, progress)?;
        if hdfs.active() != Some(NameNode::First) {
            hdfs.fail_over()?;
        }
        Ok(hdfs)
    })
}

/// Writes the files of the Deployment's directory, and no others are in it. Gives what `hdfs fsck`
/// finds of them.
///
/// # Errors
/// When a block does not come to lie where it is wanted.
pub fn put(hdfs: &Hdfs, files: &[FileSpec]) -> anyhow::Result<Held> {
    block_in_place(|| {
        hdfs.delete(DIRECTORY)?;
        hdfs.put(files)
    })?;
    held(hdfs)
}

/// What `hdfs fsck` finds of the Deployment's directory.
///
/// # Errors
/// When there is no such directory.
pub fn held(hdfs: &Hdfs) -> anyhow::Result<Held> {
    Ok(Held::of(&block_in_place(|| hdfs.fsck(DIRECTORY))?))
}

/// The volumes of the StatefulSet's pods, one on each of these nodes, in the order of the pods.
pub fn volumes(namespace: &str, nodes: &[&str]) -> Vec<LocalVolume> {
    let nodes = nodes.iter().enumerate();
    nodes
        .map(|(number, node)| {
            let name = format!("{namespace}-{POSITIONS}-{number}");
            LocalVolume::new(name, *node, CAPACITY).for_claim(namespace, claim(number))
        })
        .collect()
}

/// Makes volumes.
///
/// # Errors
/// When a node is not in the lab, or the API server refuses one.
pub fn create_volumes(lab: &Lab, volumes: &[LocalVolume]) -> anyhow::Result<()> {
    block_in_place(|| {
        for volume in volumes {
            lab.create_local_volume(volume)?;
        }
        Ok(())
    })
}

/// Removes volumes with what is in them; their claims have gone.
///
/// # Errors
/// When one does not go.
pub fn remove_volumes(lab: &Lab, volumes: &[LocalVolume]) -> anyhow::Result<()> {
    block_in_place(|| {
        for volume in volumes {
            lab.remove_local_volume(&volume.name)?;
        }
        Ok(())
    })
}

/// Labels of the pods of the Deployment or the StatefulSet.
pub fn selector(name: &str) -> String {
    format!("app.kubernetes.io/name={name}")
}

/// The claim of the StatefulSet's pod with a number.
fn claim(number: usize) -> String {
    format!("{POSITIONS}-{POSITIONS}-{number}")
}

impl Risk {
    /// The example's files with what a cluster of one's own asks for: an image.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn files(namespace: &str, image: &Image) -> anyhow::Result<Example> {
        let mut example = Example::read("risk")?.into_namespace(namespace)?;
        for kind in ["Deployment", "StatefulSet"] {
            let container = &mut example.object(kind)?["spec"]["template"]["spec"]["containers"][0];
            container["image"] = json!(image.reference);
        }
        Ok(example)
    }

    /// The example that runs in a namespace.
    pub fn at(site: &Site, namespace: &str) -> Risk {
        Risk {
            cluster: site.cluster.clone(),
            namespace: namespace.to_owned(),
        }
    }

    /// Applies the Deployment and nothing of Outrigger's, and waits until it is available.
    ///
    /// # Errors
    /// When it does not become so.
    pub async fn without_outrigger(
        site: &Site,
        namespace: &str,
        example: &Example,
    ) -> anyhow::Result<Risk> {
        let risk = Risk::at(site, namespace);
        let objects = example.of_kinds(&["Namespace", "Deployment"]);
        risk.cluster.apply(&objects).await?;
        risk.market_available().await?;
        Ok(risk)
    }

    /// Applies the example as its page says, and waits until all its pods are available. The claims
    /// of the StatefulSet are there before, as after an earlier life of it, and bound to `volumes`.
    ///
    /// # Errors
    /// When something of it does not become ready.
    pub async fn open(
        site: &Site,
        namespace: &str,
        example: &Example,
        volumes: &[LocalVolume],
    ) -> anyhow::Result<Risk> {
        let risk = Risk::at(site, namespace);
        let cluster = &risk.cluster;
        cluster.apply(&example.of_kinds(&["Namespace"])).await?;
        let claims: Api<PersistentVolumeClaim> = cluster.objects(namespace);
        for object in risk.claims(example, volumes.len())? {
            let name = cluster.apply_one(&object).await?.name_any();
            cluster::wait(&claims, &name, "Bound", PATIENCE, is_bound).await?;
        }
        let data = example.of_kinds(&["Dataset", "IntegratedApp"]);
        cluster.apply(&data).await?;
        risk.ready().await?;
        let workloads = example.of_kinds(&["Deployment", "StatefulSet", "Service"]);
        cluster.apply(&workloads).await?;
        risk.market_available().await?;
        risk.positions_available().await?;
        Ok(risk)
    }

    /// Deletes all of it, and waits until it has gone.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn remove(&self) -> anyhow::Result<()> {
        // If pods take a second to end, Kubernetes looks at their namespace again only 16 s later.
        let deployments: Api<Deployment> = self.cluster.objects(&self.namespace);
        let sets: Api<StatefulSet> = self.cluster.objects(&self.namespace);
        tokio::try_join!(
            cluster::delete_with_owned(&deployments, MARKET, PATIENCE),
            cluster::delete_with_owned(&sets, POSITIONS, PATIENCE),
        )?;
        let namespace = &self.namespace;
        self.cluster.delete_namespace(namespace, PATIENCE).await
    }

    /// Claims as the StatefulSet would make them.
    fn claims(&self, example: &Example, count: usize) -> anyhow::Result<Vec<Value>> {
        let set = example.of_kinds(&["StatefulSet"]);
        let template = set
            .first()
            .and_then(|set| set.pointer("/spec/volumeClaimTemplates/0"))
            .context("the example's StatefulSet has no claim")?;
        let claims = (0..count).map(|number| {
            let mut object = template.clone();
            object["apiVersion"] = json!("v1");
            object["kind"] = json!("PersistentVolumeClaim");
            object["metadata"]["name"] = json!(claim(number));
            object["metadata"]["namespace"] = json!(self.namespace);
            object
        });
        Ok(claims.collect())
    }

    /// Waits until it is known where the data are, and new pods are placed.
    async fn ready(&self) -> anyhow::Result<()> {
        let datasets: Api<Dataset> = self.cluster.objects(&self.namespace);
        for name in [MARKET, POSITIONS] {
            cluster::wait(&datasets, name, "Ready", PATIENCE, |found: &Dataset| {
                found.status.as_ref().is_some_and(|status| {
                    status.observed_generation == found.metadata.generation
                        && condition_is(&status.conditions, READY, "True")
                })
            })
            .await?;
        }
        let applications: Api<IntegratedApp> = self.cluster.objects(&self.namespace);
        for name in [APPLICATION, POSITIONS] {
            cluster::wait(
                &applications,
                name,
                "Ready",
                PATIENCE,
                |found: &IntegratedApp| {
                    found.status.as_ref().is_some_and(|status| {
                        status.observed_generation == found.metadata.generation
                            && condition_is(&status.conditions, READY, "True")
                    })
                },
            )
            .await?;
        }
        Ok(())
    }

    async fn market_available(&self) -> anyhow::Result<()> {
        let api: Api<Deployment> = self.cluster.objects(&self.namespace);
        cluster::wait(&api, MARKET, "available", PATIENCE, is_rolled_out)
            .await
            .map(drop)
    }

    async fn positions_available(&self) -> anyhow::Result<()> {
        let api: Api<StatefulSet> = self.cluster.objects(&self.namespace);
        cluster::wait(&api, POSITIONS, "available", PATIENCE, is_available)
            .await
            .map(drop)
    }

    /// What `hdfs fsck` finds on the nodes of the Deployment's pods, in the order of their names.
    ///
    /// # Errors
    /// When the pods cannot be listed, or one is on no node.
    pub async fn market(&self, held: &Held) -> anyhow::Result<Vec<Found>> {
        let pods = self.pods(MARKET).await?;
        let found = pods.iter().map(|pod| {
            let node = node(pod)?;
            Ok(Found {
                pod: pod.name_any(),
                node: node.to_owned(),
                local_bytes: held.on(node),
                total_bytes: held.bytes,
            })
        });
        found.collect()
    }

    /// The same of the StatefulSet's pods, by the nodes of their claims' volumes.
    ///
    /// # Errors
    /// When the pods or their volumes cannot be had.
    pub async fn positions(&self) -> anyhow::Result<Vec<Found>> {
        let mut all = Vec::new();
        for pod in self.pods(POSITIONS).await? {
            let (pod, node) = (pod.name_any(), node(&pod)?.to_owned());
            let on_node = self.volume_node(&pod).await? == node;
            all.push(Found {
                pod,
                node,
                local_bytes: if on_node { CAPACITY_BYTES } else { 0 },
                total_bytes: CAPACITY_BYTES,
            });
        }
        Ok(all)
    }

    /// The node of the volume of a pod's claim.
    async fn volume_node(&self, pod: &str) -> anyhow::Result<String> {
        const NODE: &str =
            "/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0";
        let claims: Api<PersistentVolumeClaim> = self.cluster.objects(&self.namespace);
        let claim = claims.get(&format!("{POSITIONS}-{pod}")).await?;
        let volume = claim.spec.and_then(|spec| spec.volume_name);
        let volume = volume.with_context(|| format!("the claim of {pod} is not bound"))?;
        let volumes: Api<PersistentVolume> = self.cluster.cluster_objects();
        let found = serde_json::to_value(volumes.get(&volume).await?)?;
        let node = found.pointer(NODE).and_then(Value::as_str);
        let node = node.with_context(|| format!("PersistentVolume {volume} names no node"))?;
        Ok(node.to_owned())
    }

    /// The pods of the Deployment or the StatefulSet that are to stay, by name.
    ///
    /// # Errors
    /// In the API server's words.
    pub async fn pods(&self, name: &str) -> anyhow::Result<Vec<Pod>> {
        let api: Api<Pod> = self.cluster.objects(&self.namespace);
        let all = ListParams::default().labels(&selector(name));
        let mut pods = api.list(&all).await?.items;
        pods.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        pods.sort_by_key(ResourceExt::name_any);
        Ok(pods)
    }

    /// What an IntegratedApp says of pods, beside what was found of them; waits until it speaks of
    /// exactly these.
    ///
    /// # Errors
    /// When it does not.
    pub async fn placements(
        &self,
        application: &str,
        found: Vec<Found>,
    ) -> anyhow::Result<Vec<Placement>> {
        let api: Api<IntegratedApp> = self.cluster.objects(&self.namespace);
        let told = |app: &IntegratedApp| -> Option<PlacementStatus> {
            let placement = app.status.as_ref()?.placement.clone()?;
            let names = placement.pods.iter().map(|placed| &placed.pod);
            let all = names.eq(found.iter().map(|found| &found.pod));
            (all && placement.waiting.is_empty()).then_some(placement)
        };
        let what = "the places of all pods";
        let app = cluster::wait(&api, application, what, PATIENCE, |app| told(app).is_some());
        let told = told(&app.await?).context("no placement")?;
        let placements = told.pods.into_iter().zip(&found).map(|(said, found)| {
            Ok(Placement {
                pod: said.pod,
                node: said.node,
                local_bytes: said.local_bytes.try_into()?,
                total_bytes: said.total_bytes.try_into()?,
                reason: said.reason,
                found: found.clone(),
            })
        });
        placements.collect()
    }
}

fn node(pod: &Pod) -> anyhow::Result<&str> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    node.with_context(|| format!("{} is on no node", pod.name_any()))
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    phase == Some("Bound")
}

/// Whether all pods of a StatefulSet are available.
fn is_available(set: &StatefulSet) -> bool {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas);
    let status = set.status.as_ref();
    status.is_some_and(|status| {
        status.observed_generation == set.metadata.generation
            && status.available_replicas == Some(wanted.unwrap_or(1))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[test]
    fn claims_and_volumes_are_those_of_the_examples_statefulset() {
        let example = Example::read("risk").unwrap();
        let set = &example.of_kinds(&["StatefulSet"])[0];
        assert_eq!(set["metadata"]["name"], POSITIONS);
        let template = &set["spec"]["volumeClaimTemplates"][0];
        assert_eq!(template["metadata"]["name"], POSITIONS);
        let storage = &template["spec"]["resources"]["requests"]["storage"];
        assert_eq!(storage, CAPACITY);
        let of_pods = volumes("risk", &["node-4", "node-1"]);
        assert_eq!(of_pods[1].node, "node-1");
        let claim = of_pods[1].claim.clone().unwrap();
        assert_eq!(
            claim,
            ("risk".to_owned(), "positions-positions-1".to_owned())
        );
    }
}
