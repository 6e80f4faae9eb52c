//! The operator is killed while pods arrive: none is stranded, and all end where they would have.

use std::collections::BTreeMap;

use futures::future::try_join;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout::PLACEMENT_ANNOTATION;
use outrigger_e2e::{cluster, install};
use serde_json::json;

use super::ground::{Ground, SELECTOR, node};
use crate::operator_killed::kill_operator;
use crate::scene::{PATIENCE, Scene, Test, test};

const PODS: u32 = 20;

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        the_operator_killed_while_twenty_pods_arrive_strands_none_and_changes_no_end
    )]
}

async fn the_operator_killed_while_twenty_pods_arrive_strands_none_and_changes_no_end(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(5, &[1]), (4, &[2]), (3, &[3])])?;
    // Nothing is let go for want of time: who is released was placed.
    ground
        .open(json!({"mode": "Required", "relaxAfterSeconds": 3600, "maxSkew": 2}))
        .await?;
    let calm = arrival(ground).await?;
    ground.apply(&ground.deployment(0)).await?;
    let pods = scene.pods();
    cluster::wait_all(&pods, SELECTOR, "no pod", PATIENCE, |pods: &[Pod]| {
        pods.is_empty()
    })
    .await?;

    let [there, placed] = [fastrand::usize(1..10), fastrand::usize(10..20)];
    let kills = async {
        let count = |holds: fn(&Pod) -> bool, least: usize| {
            let pods = scene.pods();
            async move {
                let what = format!("{least} pods");
                cluster::wait_all(&pods, SELECTOR, &what, PATIENCE, |pods: &[Pod]| {
                    pods.iter().filter(|pod| holds(pod)).count() >= least
                })
                .await
            }
        };
        count(|_| true, there).await?;
        kill_operator(scene).await?;
        count(|pod| node(pod).is_some(), placed).await?;
        kill_operator(scene).await
    };
    let (killed, ()) = try_join(arrival(ground), kills).await?;
    scene.say(format_args!(
        "killed when {there} pods were there, and when {placed} were on nodes: {killed:?}"
    ));
    assert_eq!(killed, calm);

    let deployments = scene.cluster().objects::<Deployment>(install::NAMESPACE);
    let what = "the operator";
    cluster::wait(&deployments, install::RELEASE, what, PATIENCE, |found| {
        install::is_rolled_out(found)
    })
    .await?;
    let told = ground
        .told("twenty pods", |told| told.pods.len() == PODS as usize)
        .await?;
    assert_eq!(told.waiting, []);
    assert_eq!(told.avoided, []);
    Ok(())
}

/// Pods by node, when all of them have come; each was placed.
async fn arrival(ground: Ground<'_>) -> anyhow::Result<BTreeMap<String, usize>> {
    ground.apply(&ground.deployment(PODS)).await?;
    let mut counts = BTreeMap::new();
    for pod in ground.on_nodes(PODS as usize).await? {
        assert!(
            pod.annotations().contains_key(PLACEMENT_ANNOTATION),
            "{} was not placed",
            pod.name_any()
        );
        *counts
            .entry(node(&pod).unwrap_or_default().to_owned())
            .or_default() += 1;
    }
    Ok(counts)
}
