//! Claims whose volumes are on nodes that are not there.

use anyhow::Context;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use outrigger_api::conditions::reason;
use outrigger_e2e::cluster;
use serde_json::json;
use tokio::task::block_in_place;

use super::demands::is_unschedulable;
use super::ground::{APPLICATION, DATASET, Ground, SELECTOR, assert_says};
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        a_claim_on_a_dead_node_is_explained_and_its_pod_not_kept_at_the_gate
    )]
}

async fn a_claim_on_a_dead_node_is_explained_and_its_pod_not_kept_at_the_gate(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    let lab = &scene.stage.site.lab;
    let (volume, claim) = ground.bound_claim("node-4", "disk-reader-0").await?;
    let mut dataset = ground.dataset(&[]);
    dataset["spec"] = json!({
        "persistentVolumeClaims": {"selector": {"matchLabels": {"app": "disk"}}},
    });
    let mut application = ground.application("StatefulSet", json!({"mode": "Required"}));
    application["spec"]["data"][0]["split"] = json!("ByIndex");
    scene.cluster().apply(&[dataset, application]).await?;
    let status = ground.located(|_| true).await?;
    assert_eq!((status.bytes, status.nodes.len()), (Some(1 << 30), 1));
    assert_eq!(status.nodes[0].name, "node-4");
    scene.ready_application(APPLICATION).await?;

    kill_kubelet(ground, "node-4").await?;
    let status = ground
        .looked_at("the loss of the node", |status| {
            let mut conditions = status.conditions.iter();
            conditions.any(|found| found.reason == reason::VOLUME_NODE_GONE)
        })
        .await?;
    let mut conditions = status.conditions.iter();
    let message = conditions.find(|found| found.type_ == "Ready");
    let message = message
        .map(|ready| ready.message.clone())
        .unwrap_or_default();
    scene.say(format_args!("Dataset {DATASET}: {message}"));
    assert_says(&message, &["node-4", "disk-reader-0"]);

    let mut set = ground.deployment(1);
    set["kind"] = json!("StatefulSet");
    set["spec"]["serviceName"] = json!(APPLICATION);
    set["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": {"name": "disk", "labels": {"app": "disk"}},
        "spec": claim["spec"],
    }]);
    let container = &mut set["spec"]["template"]["spec"]["containers"][0];
    container["volumeMounts"] = json!([{"name": "disk", "mountPath": "/disk"}]);
    ground.apply(&set).await?;
    // Waiting at the gate would bring it nowhere: the scheduler says why it does not run.
    let pods = scene.pods();
    let what = "the scheduler's word";
    let found = cluster::wait_all(&pods, SELECTOR, what, PATIENCE, |pods: &[Pod]| {
        pods.iter().any(is_unschedulable)
    });
    let spec = found.await?.remove(0).spec.context("no spec")?;
    assert_eq!(spec.scheduling_gates, None);
    let told = scene
        .unready_application(APPLICATION, reason::PLACEMENT_PENDING)
        .await?;
    scene.say(format_args!("IntegratedApp {APPLICATION}: {told}"));
    assert_says(&told, &["disk-reader-0", "node-4", "not ready"]);
    // It runs when the node is back.
    block_in_place(|| lab.component("node-4/kubelet")?.start())?;
    ground.on_nodes(1).await?;
    ground.located(|status| status.nodes.len() == 1).await?;

    let site = &scene.stage.site;
    let ns = scene.namespace;
    site.kubectl(&format!("-n {ns} delete statefulset reader"))
        .await?;
    cluster::wait_all(&pods, SELECTOR, "no pod", PATIENCE, |pods: &[Pod]| {
        pods.is_empty()
    })
    .await?;
    site.kubectl(&format!("-n {ns} delete pvc --all")).await?;
    block_in_place(|| lab.remove_local_volume(&volume.name))?;
    Ok(())
}

/// Kills a node's kubelet, and says of the node what the node controller says fifty seconds later.
async fn kill_kubelet(ground: Ground<'_>, name: &str) -> anyhow::Result<()> {
    let lab = &ground.scene.stage.site.lab;
    block_in_place(|| lab.component(&format!("{name}/kubelet"))?.kill())?;
    let nodes = ground.nodes();
    let status = json!({"status": {"conditions": [{
        "type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }]}});
    let patch = Patch::Strategic(&status);
    let node: Node = nodes
        .patch_status(name, &PatchParams::default(), &patch)
        .await?;
    ground
        .scene
        .say(format_args!("{} has no kubelet", node.name_any()));
    Ok(())
}
