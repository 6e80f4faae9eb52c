//! The example: a Deployment that reads HDFS, and a StatefulSet that reads its own volumes.

use anyhow::Context;
use http::Method;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use outrigger_api::{Dataset, IntegratedApp, PlacementStatus};
use outrigger_e2e::example::Example;
use outrigger_e2e::images::Recipe;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::locality::Held;
use outrigger_e2e::shop::condition_is;
use outrigger_e2e::{cluster, fetch, project, slots};
use outrigger_lab::{FileSpec, LocalVolume};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::ground::{assert_says, node, numbered};
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(every_pod_of_the_risk_example_is_on_its_data)]
}

const BLOCK: u64 = 512 << 10;
/// Nodes of the blocks: two copies, none on node-4.
const BLOCKS: [[usize; 2]; 6] = [[0, 1], [1, 2], [2, 0], [0, 1], [1, 2], [2, 0]];
/// Bytes of a volume.
const VOLUME: i64 = 1 << 30;

/// What a pod says of what it added up.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Exposure {
    node: String,
    total_bytes: u64,
    local_bytes: Option<u64>,
    sum: i64,
}

async fn every_pod_of_the_risk_example_is_on_its_data(scene: Scene<'_>) -> anyhow::Result<()> {
    let hdfs = scene.stage.hdfs().await?;
    let amounts: i32 = (BLOCK * BLOCKS.len() as u64 / 4).try_into()?;
    let content: Vec<u8> = (0..amounts).flat_map(i32::to_le_bytes).collect();
    let sum = i64::from(amounts) * i64::from(amounts - 1) / 2;
    let blocks = BLOCKS.map(Vec::from).to_vec();
    let file = FileSpec::new("/market/prices", BLOCK, blocks).with_content(content);
    let held = block_in_place(|| {
        hdfs.delete("/market")?;
        hdfs.put(&[file])?;
        hdfs.fsck("/market")
    })?;
    let held = Held::of(&held);
    let volumes: Vec<_> = (1..=3)
        .map(|number| {
            let name = format!("{}-{number}", scene.namespace);
            LocalVolume::new(name, numbered(number), "1Gi")
        })
        .collect();
    let lab = &scene.stage.site.lab;
    block_in_place(|| {
        for volume in &volumes {
            lab.remove_local_volume(&volume.name)?;
            lab.create_local_volume(volume)?;
        }
        anyhow::Ok(())
    })?;

    open(scene).await?;
    market(scene, &held, sum).await?;
    positions(scene).await?;

    let site = &scene.stage.site;
    let told = site
        .kubectl(&format!("-n {} describe iapp risk", scene.namespace))
        .await?;
    for line in told.lines() {
        scene.say(line);
    }
    assert_says(
        &told,
        &[
            "Placement:",
            "Local:",
            "67 %",
            "Reason:",
            " holds 2.0 MiB of its 3.0 MiB",
            "next best",
        ],
    );

    scene
        .cluster()
        .delete_namespace(scene.namespace, PATIENCE)
        .await?;
    block_in_place(|| {
        let mut volumes = volumes.iter();
        volumes.try_for_each(|volume| lab.remove_local_volume(&volume.name))
    })?;
    Ok(())
}

/// Applies the example as its page says.
async fn open(scene: Scene<'_>) -> anyhow::Result<()> {
    let risk = Recipe::product("risk", project::VERSION)?;
    let image = scene.stage.site.images.ensure(&risk).await?;
    let example = Example::read("risk")?.into_namespace(scene.namespace)?;
    let before = ["Namespace", "Dataset", "IntegratedApp"];
    let cluster = scene.cluster();
    cluster.apply(&example.of_kinds(&before)).await?;
    let datasets: Api<Dataset> = cluster.objects(scene.namespace);
    cluster::wait(&datasets, "market", "Ready", PATIENCE, |dataset| {
        let status = dataset.status.as_ref();
        status.is_some_and(|status| condition_is(&status.conditions, "Ready", "True"))
    })
    .await?;
    scene.ready_application("risk").await?;
    let mut workloads = example.of_kinds(&["Deployment", "StatefulSet", "Service"]);
    for object in &mut workloads {
        if let Some(container) = object.pointer_mut("/spec/template/spec/containers/0") {
            container["image"] = json!(image.reference);
        }
    }
    cluster.apply(&workloads).await
}

async fn market(scene: Scene<'_>, held: &Held, sum: i64) -> anyhow::Result<()> {
    let deployments: Api<Deployment> = scene.cluster().objects(scene.namespace);
    cluster::wait(&deployments, "market", "available", PATIENCE, is_rolled_out).await?;
    let pods = pods(scene, "market").await?;
    assert_eq!(pods.len(), 3);
    let told = told(scene, "risk", &pods).await?;
    for pod in &pods {
        let on = node(pod).context("on no node")?;
        let name = pod.name_any();
        assert!(held.on(on) > 0, "{name} is on {on}: {held:?}");
        let mut placed = told.pods.iter();
        let placed = placed
            .find(|placed| placed.pod == name)
            .context("not told")?;
        assert_eq!(placed.node, on);
        assert_eq!(placed.local_bytes, i64::try_from(held.on(on))?);
        assert_eq!(placed.total_bytes, i64::try_from(held.bytes)?);
        let exposure = exposure(pod).await?;
        assert_eq!(exposure.node, on);
        assert_eq!(exposure.total_bytes, held.bytes);
        assert_eq!(exposure.local_bytes, Some(held.on(on)));
        assert_eq!(exposure.sum, sum);
    }
    Ok(())
}

async fn positions(scene: Scene<'_>) -> anyhow::Result<()> {
    let sets: Api<StatefulSet> = scene.cluster().objects(scene.namespace);
    let ready = |set: &StatefulSet| {
        let status = set.status.as_ref();
        status.is_some_and(|status| status.available_replicas == Some(3))
    };
    cluster::wait(&sets, "positions", "available", PATIENCE, ready).await?;
    let first = pods(scene, "positions").await?;
    for (pod, amount) in first.iter().zip(1_i32..) {
        let url = format!("http://{}:8080/positions/fx", slots::address(pod)?);
        let body = amount.to_le_bytes().repeat(10);
        let answer = fetch::send(Method::PUT, &url, &[], body.into()).await?;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    // From now on the claims have their nodes.
    let api = scene.pods();
    let all = ListParams::default().labels(&selector("positions"));
    api.delete_collection(&Default::default(), &all).await?;
    let uids: Vec<_> = first.iter().map(ResourceExt::uid).collect();
    cluster::wait_all(&api, &selector("positions"), "new pods", PATIENCE, |pods| {
        let new = |pod: &Pod| is_ready(pod) && !uids.contains(&pod.uid());
        pods.len() == 3 && pods.iter().all(new)
    })
    .await?;
    let pods = pods(scene, "positions").await?;
    let told = told(scene, "positions", &pods).await?;
    for (pod, amount) in pods.iter().zip(1_i64..) {
        let (name, on) = (pod.name_any(), node(pod).context("on no node")?);
        assert_eq!(Some(on), claim_node(scene, &name).await?.as_deref());
        let mut placed = told.pods.iter();
        let placed = placed
            .find(|placed| placed.pod == name)
            .context("not told")?;
        assert_eq!(
            (placed.local_bytes, placed.total_bytes),
            (VOLUME, VOLUME),
            "{placed:?}"
        );
        let exposure = exposure(pod).await?;
        assert_eq!((exposure.node.as_str(), exposure.sum), (on, 10 * amount));
    }
    Ok(())
}

/// The node that the volume of a pod's claim is on.
async fn claim_node(scene: Scene<'_>, pod: &str) -> anyhow::Result<Option<String>> {
    let claims: Api<PersistentVolumeClaim> = scene.cluster().objects(scene.namespace);
    let claim = claims.get(&format!("positions-{pod}")).await?;
    let volume = claim
        .spec
        .and_then(|spec| spec.volume_name)
        .context("not bound")?;
    let volumes: Api<PersistentVolume> = scene.cluster().cluster_objects();
    let volume = serde_json::to_value(volumes.get(&volume).await?)?;
    let node = volume
        .pointer("/spec/nodeAffinity/required/nodeSelectorTerms/0/matchExpressions/0/values/0");
    Ok(node.and_then(Value::as_str).map(str::to_owned))
}

fn selector(name: &str) -> String {
    format!("app.kubernetes.io/name={name}")
}

async fn pods(scene: Scene<'_>, name: &str) -> anyhow::Result<Vec<Pod>> {
    let mut pods = cluster::wait_all(&scene.pods(), &selector(name), "ready", PATIENCE, |pods| {
        !pods.is_empty() && pods.iter().all(is_ready)
    })
    .await?;
    pods.sort_by_key(ResourceExt::name_any);
    Ok(pods)
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut ready = conditions.filter(|it| it.type_ == "Ready" && it.status == "True");
    ready.next().is_some() && pod.metadata.deletion_timestamp.is_none()
}

/// What an application says of the places of its pods, once it speaks of these.
async fn told(scene: Scene<'_>, name: &str, pods: &[Pod]) -> anyhow::Result<PlacementStatus> {
    let api: Api<IntegratedApp> = scene.cluster().objects(scene.namespace);
    let names: Vec<_> = pods.iter().map(ResourceExt::name_any).collect();
    let placement = |app: &IntegratedApp| {
        let placement = app.status.as_ref()?.placement.clone()?;
        let told: Vec<_> = placement
            .pods
            .iter()
            .map(|placed| placed.pod.clone())
            .collect();
        // A StatefulSet's pods have the names of those before: by number they are the same.
        (told == names && placement.waiting.is_empty()).then_some(placement)
    };
    let found = cluster::wait(&api, name, "all pods' places", PATIENCE, |app| {
        placement(app).is_some()
    });
    placement(&found.await?).context("no placement")
}

async fn exposure(pod: &Pod) -> anyhow::Result<Exposure> {
    let url = format!("http://{}:8080/exposure", slots::address(pod)?);
    fetch::get(&url).await?.json()
}
