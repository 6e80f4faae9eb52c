//! DataNodes and NameNodes that go, and a Dataset that is deleted.

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use outrigger_api::DatasetStatus;
use outrigger_api::conditions::reason;
use outrigger_e2e::fetch;
use outrigger_e2e::locality::BLOCK;
use outrigger_lab::NameNode;
use serde_json::json;

use super::ground::{APPLICATION, DATASET, Ground, assert_says, node};
use crate::mended;
use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_killed_data_node_gets_no_new_pods),
        test!(a_dataset_follows_the_name_nodes_and_is_remembered_without_them),
        test!(a_dataset_that_is_deleted_lets_waiting_pods_go),
    ]
}

async fn a_killed_data_node_gets_no_new_pods(scene: Scene<'_>) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1]), (1, &[2])])?;
    ground.open(json!({"mode": "Required"})).await?;
    ground.apply(&ground.deployment(1)).await?;
    let pod = ground.on_nodes(1).await?.remove(0);
    assert_eq!(node(&pod), Some("node-1"));

    ground.hdfs(|hdfs| hdfs.kill("node-1"))?;
    let status = ground
        .looked_at("the loss of node-1's blocks", |status| {
            holders(status) == ["node-2"]
        })
        .await?;
    let three = i64::try_from(3 * BLOCK)?;
    assert_eq!(status.bytes_on_no_node, Some(three), "{status:?}");
    let url = format!(
        "{}/webhdfs/v1{}/file?op=GETFILEBLOCKLOCATIONS",
        NameNode::First.url(),
        ground.directory()
    );
    let named = fetch::get(&url).await?.text().contains("node-1");
    let named = if named { "still" } else { "no longer" };
    scene.say(format_args!("the NameNode {named} names node-1"));
    let pod = ground.another().await?;
    assert_eq!(node(&pod), Some("node-2"));
    let told = ground.told_of(&pod).await?;
    scene.say(&told.reason);
    assert_eq!(told.local_bytes, i64::try_from(BLOCK)?);

    ground.hdfs(|hdfs| hdfs.restart("node-1"))?;
    ground
        .located(|status| holders(status) == ["node-1", "node-2"])
        .await?;
    Ok(())
}

/// The nodes that hold something, those that hold most first.
fn holders(status: &DatasetStatus) -> Vec<&str> {
    status.nodes.iter().map(|node| node.name.as_str()).collect()
}

async fn a_dataset_follows_the_name_nodes_and_is_remembered_without_them(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1]), (1, &[2])])?;
    ground.open(json!({"mode": "Required"})).await?;
    ground.apply(&ground.deployment(1)).await?;
    let placed = |pod: &Pod, name: &str| assert_eq!(node(pod), Some(name));
    placed(&ground.on_nodes(1).await?[0], "node-1");

    // Nothing may be written, but blocks are known.
    ground.hdfs(|hdfs| hdfs.set_safe_mode(true))?;
    placed(&ground.another().await?, "node-1");
    ground.located(|_| true).await?;
    ground.hdfs(|hdfs| hdfs.set_safe_mode(false))?;

    for name_node in [NameNode::First, NameNode::Second] {
        ground.hdfs(|hdfs| hdfs.kill_name_node(name_node))?;
    }
    let status = ground
        .looked_at("no NameNode", |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| found.reason == reason::NAME_NODE_UNAVAILABLE)
        })
        .await?;
    assert_eq!(holders(&status), ["node-1", "node-2"]);
    let ready = status
        .conditions
        .iter()
        .find(|found| found.type_ == "Ready");
    let message = ready
        .map(|ready| ready.message.as_str())
        .unwrap_or_default();
    scene.say(message);
    let urls = [NameNode::First, NameNode::Second].map(NameNode::url);
    assert_says(message, &[&urls[0], &urls[1]]);
    let pod = ground.another().await?;
    placed(&pod, "node-1");
    let told = ground.told_of(&pod).await?;
    scene.say(&told.reason);
    assert_says(&told.reason, &["node-1 holds", "was found before"]);

    // They come back, and the other one becomes active.
    mended::hdfs(&scene.stage.site.lab)?;
    ground.located(|_| true).await?;
    let active = ground.hdfs(|hdfs| hdfs.fail_over())?;
    assert_eq!(active, NameNode::Second);
    ground.put(&[(3, &[3])])?;
    ground
        .located(|status| holders(status) == ["node-3"])
        .await?;
    placed(&ground.another().await?, "node-3");
    Ok(())
}

async fn a_dataset_that_is_deleted_lets_waiting_pods_go(scene: Scene<'_>) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1])])?;
    ground
        .open(json!({"mode": "Required", "relaxAfterSeconds": 3600}))
        .await?;
    ground.nodes().cordon("node-1").await?;
    ground.apply(&ground.deployment(2)).await?;
    let told = ground.waits(&["node-1 ruled out: cordoned"]).await?;
    scene.say(format_args!("waits: {told}"));
    let datasets = ground.datasets();
    datasets.delete(DATASET, &DeleteParams::default()).await?;
    let pods = ground.on_nodes(2).await?;
    assert!(pods.iter().all(|pod| node(pod) != Some("node-1")));
    let message = scene
        .unready_application(APPLICATION, reason::DATASET_NOT_FOUND)
        .await?;
    assert_says(&message, &["data[0].dataset", DATASET]);
    let told = ground.told_of(&pods[0]).await?;
    scene.say(&told.reason);
    let expected = "no Dataset that IntegratedApp reader names exists";
    assert_says(&told.reason, &[expected]);
    Ok(())
}
