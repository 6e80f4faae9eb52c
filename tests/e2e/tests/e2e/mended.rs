//! What tests of placement broke, made whole: nodes, components of the lab, HDFS.

use anyhow::Context;
use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_e2e::cluster;
use outrigger_e2e::site::Site;
use outrigger_lab::{Hdfs, Lab, NameNode, Progress, Shape};
use tokio::task::block_in_place;

use crate::scene::PATIENCE;

/// Starts what of the lab does not run, and takes nodes back into service.
pub(crate) async fn cluster(site: &Site) -> anyhow::Result<()> {
    block_in_place(|| {
        let status = site.lab.status()?;
        let dead = status.components.iter().filter(|found| found.pid.is_none());
        for component in dead {
            site.lab.component(&component.name)?.start()?;
        }
        anyhow::Ok(())
    })
    .context("what a test killed does not start")?;
    let nodes = site.cluster.cluster_objects::<Node>();
    for node in nodes.list(&ListParams::default()).await? {
        let name = node.name_any();
        if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
            nodes.uncordon(&name).await?;
        }
        cluster::wait(&nodes, &name, "Ready", PATIENCE, is_ready).await?;
    }
    Ok(())
}

fn is_ready(node: &Node) -> bool {
    let conditions = node
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    let mut ready = conditions.filter(|it| it.type_ == "Ready" && it.status == "True");
    ready.next().is_some() && node.spec.as_ref().is_none_or(|spec| spec.taints.is_none())
}

/// Brings HDFS up with two NameNodes, the first of them active, all DataNodes in service, and
/// nothing in safe mode.
pub(crate) fn hdfs(lab: &Lab) -> anyhow::Result<Hdfs> {
    block_in_place(|| {
        if let Ok(hdfs) = lab.hdfs()
            && hdfs.shape() == Shape::Pair
        {
            let status = hdfs.status();
            let first = hdfs.active() == Some(NameNode::First);
            if status.is_whole() && first {
                return Ok(hdfs);
            }
            let runs = status.name_nodes.iter().any(|it| it.pid.is_some());
            if runs && status.name_nodes.iter().any(|it| it.safe_mode.is_some()) {
                hdfs.set_safe_mode(false)?;
            }
        }
        let hdfs = lab.hdfs_up(Shape::Pair, &Progress::new(|_| {}))?;
        if hdfs.active() != Some(NameNode::First) {
            hdfs.fail_over()?;
        }
        Ok(hdfs)
    })
}
