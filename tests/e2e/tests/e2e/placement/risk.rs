//! The example: a Deployment that reads HDFS, and a StatefulSet that reads its own volumes.

use http::Method;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_e2e::images::Recipe;
use outrigger_e2e::locality::Held;
use outrigger_e2e::report::Placement;
use outrigger_e2e::risk::{self, APPLICATION, DIRECTORY, POSITIONS, Risk};
use outrigger_e2e::{cluster, fetch, project, slots};
use outrigger_lab::FileSpec;
use serde::Deserialize;

use super::ground::assert_says;
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(every_pod_of_the_risk_example_is_on_its_data)]
}

const BLOCK: u64 = 512 << 10;
/// Nodes of the blocks: two copies, none on node-4.
const BLOCKS: [[usize; 2]; 6] = [[0, 1], [1, 2], [2, 0], [0, 1], [1, 2], [2, 0]];
/// Nodes of the volumes.
const VOLUMES: [&str; 3] = ["node-4", "node-1", "node-2"];

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
    let file = FileSpec::new(format!("{DIRECTORY}/prices"), BLOCK, blocks).with_content(content);
    let held = risk::put(hdfs, &[file])?;
    let site = &scene.stage.site;
    let volumes = risk::volumes(scene.namespace, &VOLUMES);
    risk::remove_volumes(&site.lab, &volumes)?;
    risk::create_volumes(&site.lab, &volumes)?;
    let image = Recipe::product("risk", project::VERSION)?;
    let image = site.images.ensure(&image).await?;
    let example = Risk::files(scene.namespace, &image)?;
    let risk = Risk::open(site, scene.namespace, &example, &volumes).await?;
    market(&risk, &held, sum).await?;
    positions(scene, &risk).await?;

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
    risk::remove_volumes(&site.lab, &volumes)
}

async fn market(risk: &Risk, held: &Held, sum: i64) -> anyhow::Result<()> {
    let found = risk.market(held).await?;
    assert_eq!(found.len(), 3);
    for pod in &found {
        assert!(pod.local_bytes > 0, "{pod}: {held:?}");
    }
    as_said(&risk.placements(APPLICATION, found.clone()).await?);
    for (pod, found) in risk.pods(risk::MARKET).await?.iter().zip(&found) {
        let exposure = exposure(pod).await?;
        assert_eq!(exposure.node, found.node);
        assert_eq!(exposure.total_bytes, found.total_bytes);
        assert_eq!(exposure.local_bytes, Some(found.local_bytes));
        assert_eq!(exposure.sum, sum);
    }
    Ok(())
}

async fn positions(scene: Scene<'_>, risk: &Risk) -> anyhow::Result<()> {
    on_claims(risk).await?;
    let first = risk.pods(POSITIONS).await?;
    for (pod, amount) in first.iter().zip(1_i32..) {
        let url = format!("http://{}:8080/positions/fx", slots::address(pod)?);
        let body = amount.to_le_bytes().repeat(10);
        let answer = fetch::send(Method::PUT, &url, &[], body.into()).await?;
        assert_eq!(answer.status, 204, "{}", answer.text());
    }
    let api = scene.pods();
    let selector = risk::selector(POSITIONS);
    let all = ListParams::default().labels(&selector);
    api.delete_collection(&Default::default(), &all).await?;
    let uids: Vec<_> = first.iter().map(ResourceExt::uid).collect();
    cluster::wait_all(&api, &selector, "new pods", PATIENCE, |pods| {
        let new = |pod: &Pod| is_ready(pod) && !uids.contains(&pod.uid());
        pods.len() == 3 && pods.iter().all(new)
    })
    .await?;
    on_claims(risk).await?;
    for (pod, amount) in risk.pods(POSITIONS).await?.iter().zip(1..) {
        assert_eq!(exposure(pod).await?.sum, 10 * amount);
    }
    Ok(())
}

/// Holds the pods of the StatefulSet to be on the nodes of their volumes.
async fn on_claims(risk: &Risk) -> anyhow::Result<()> {
    let found = risk.positions().await?;
    let nodes: Vec<_> = found.iter().map(|pod| pod.node.as_str()).collect();
    assert_eq!(nodes, VOLUMES);
    for pod in &found {
        assert_eq!(pod.local_bytes, pod.total_bytes, "{pod}");
    }
    as_said(&risk.placements(POSITIONS, found).await?);
    Ok(())
}

fn as_said(placements: &[Placement]) {
    for placement in placements {
        assert_eq!(placement.violation(), None);
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut ready = conditions.filter(|it| it.type_ == "Ready" && it.status == "True");
    ready.next().is_some() && pod.metadata.deletion_timestamp.is_none()
}

async fn exposure(pod: &Pod) -> anyhow::Result<Exposure> {
    let url = format!("http://{}:8080/exposure", slots::address(pod)?);
    fetch::get(&url).await?.json()
}
