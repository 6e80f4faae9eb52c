//! Nodes that cannot take a pod, before and after it was sent there.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use outrigger_control::layout::PLACEMENT_ANNOTATION;
use outrigger_e2e::cluster;
use outrigger_lab::Lab;
use serde_json::json;
use tokio::task::block_in_place;

use super::ground::{Ground, SELECTOR, assert_says, node};
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_cordoned_node_gets_no_pod_and_is_named),
        test!(a_node_that_is_filled_before_the_scheduler_comes_is_left_for_the_next_best),
    ]
}

async fn a_cordoned_node_gets_no_pod_and_is_named(scene: Scene<'_>) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1]), (2, &[2])])?;
    ground.open(json!({"mode": "Required"})).await?;
    ground.apply(&ground.deployment(1)).await?;
    let pod = ground.on_nodes(1).await?.remove(0);
    assert_eq!(node(&pod), Some("node-1"));

    ground.nodes().cordon("node-1").await?;
    let pod = ground.another().await?;
    assert_eq!(node(&pod), Some("node-2"));
    let told = ground.told_of(&pod).await?;
    scene.say(&told.reason);
    assert_says(
        &told.reason,
        &["node-2 holds", "node-1 ruled out: cordoned"],
    );

    // With no other holder, a pod waits, and goes when the node is back.
    ground.nodes().cordon("node-2").await?;
    let waiting = async {
        let told = ground
            .waits(&["cordoned", "node-1", "node-2", "until"])
            .await?;
        scene.say(format_args!("waits: {told}"));
        ground.nodes().uncordon("node-1").await?;
        anyhow::Ok(())
    };
    let (pod, ()) = futures::future::try_join(ground.another(), waiting).await?;
    assert_eq!(node(&pod), Some("node-1"));
    Ok(())
}

async fn a_node_that_is_filled_before_the_scheduler_comes_is_left_for_the_next_best(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1]), (2, &[2])])?;
    ground
        .open(json!({"mode": "Required", "bindTimeoutSeconds": 5}))
        .await?;
    let lab = &scene.stage.site.lab;
    scheduler(lab, |scheduler| scheduler.stop())?;
    let mut deployment = ground.deployment(1);
    deployment["spec"]["template"] = ground.template("500m");
    ground.apply(&deployment).await?;
    let pods = scene.pods();
    let sent = cluster::wait_all(&pods, SELECTOR, "a pod sent", PATIENCE, |pods: &[Pod]| {
        pods.iter().any(|pod| sent_to(pod).is_some())
    });
    let first = sent.await?.remove(0);
    assert_eq!(sent_to(&first).as_deref(), Some("node-1"));

    // Others were quicker.
    let mut filler = ground.template("1600m");
    filler["apiVersion"] = json!("v1");
    filler["kind"] = json!("Pod");
    filler["metadata"] = json!({"name": "filler", "namespace": scene.namespace});
    filler["spec"]["nodeName"] = json!("node-1");
    ground.apply(&filler).await?;
    scheduler(lab, |scheduler| scheduler.start())?;

    let moved = cluster::wait_all(&pods, SELECTOR, "another pod", PATIENCE, |pods| {
        pods.len() == 1 && pods[0].uid() != first.uid() && node(&pods[0]).is_some()
    });
    let pod = moved.await?.remove(0);
    assert_eq!(node(&pod), Some("node-2"));
    let told = ground.told_of(&pod).await?;
    scene.say(&told.reason);
    let replaced = format!(
        "pod {} was sent to node-1 and not bound within 5 s",
        first.name_any()
    );
    assert_says(&told.reason, &["node-2 holds", "node-1 ruled out"]);
    let told = ground
        .told("an avoided node", |told| !told.avoided.is_empty())
        .await?;
    assert_eq!(told.avoided[0].node, "node-1");
    assert_says(&told.avoided[0].reason, &[&replaced, "Insufficient cpu"]);
    Ok(())
}

fn scheduler(
    lab: &Lab,
    work: impl FnOnce(&outrigger_lab::Component<'_>) -> Result<(), outrigger_lab::Error>,
) -> anyhow::Result<()> {
    block_in_place(|| Ok(work(&lab.component("kube-scheduler")?)?))
}

/// The node that a pod was released to.
fn sent_to(pod: &Pod) -> Option<String> {
    let text = pod.annotations().get(PLACEMENT_ANNOTATION)?;
    let told: serde_json::Value = serde_json::from_str(text).ok()?;
    Some(told["node"].as_str()?.to_owned())
}
