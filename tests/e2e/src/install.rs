//! Outrigger, installed with its charts.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};

use crate::images::Image;
use crate::site::Site;
use crate::{cluster, command, example, project};

/// Namespace of the operator.
pub const NAMESPACE: &str = "outrigger-system";
/// Release, Deployment, Service and ClusterRole of the operator.
pub const RELEASE: &str = "outrigger";
/// Release of the kinds.
pub const CRD_RELEASE: &str = "outrigger-crds";
/// Labels of the operator's pods.
pub const SELECTOR: &str = "app.kubernetes.io/name=outrigger,app.kubernetes.io/instance=outrigger";
/// The configuration by which the API server calls the operator, once there is an IntegratedApp.
pub const WEBHOOK: &str = "outrigger-injector";

const PATIENCE: Duration = Duration::from_secs(180);

/// Installs the kinds and the operator, or brings them to this state, and waits until every
/// replica is ready.
///
/// # Errors
/// In Helm's words, or with what was waited for.
pub async fn install(site: &Site, operator: &Image) -> anyhow::Result<()> {
    let namespace = example::documents(&project::root().join("config/default/namespace.yaml"))?;
    site.cluster.apply(&namespace).await?;
    forget_interrupted(site).await?;
    let charts = project::root().join("charts");
    upgrade(site, CRD_RELEASE, &charts.join("outrigger-crds"), &[]).await?;
    let values = [
        format!("image.repository={}", operator.repository()),
        format!("image.digest={}", operator.digest),
    ];
    upgrade(site, RELEASE, &charts.join("outrigger"), &values).await?;
    let deployments = site.cluster.objects::<Deployment>(NAMESPACE);
    cluster::wait(&deployments, RELEASE, "all replicas", PATIENCE, |found| {
        is_rolled_out(found)
    })
    .await?;
    Ok(())
}

/// Uninstalls the operator, not the kinds, and gives what Helm said.
///
/// # Errors
/// In Helm's words.
pub async fn uninstall(site: &Site) -> anyhow::Result<String> {
    let arguments = ["uninstall", RELEASE, "--wait"].map(str::to_owned);
    // What hooks say is written to standard error.
    command::run_and_listen(site.tool("helm"), with_place(site, arguments)).await
}

/// The operator's pods that have not ended.
///
/// # Errors
/// In the API server's words.
pub async fn pods(site: &Site) -> anyhow::Result<Vec<Pod>> {
    let pods = site.cluster.objects::<Pod>(NAMESPACE);
    let found = pods.list(&ListParams::default().labels(SELECTOR)).await?;
    Ok(found.items)
}

/// Whether a Deployment's newest template is that of all its pods, and all of them are available.
pub fn is_rolled_out(deployment: &Deployment) -> bool {
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let wanted = Some(wanted.unwrap_or(1));
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == wanted
            && status.available_replicas == wanted
            && status.replicas == wanted
    })
}

async fn upgrade(
    site: &Site,
    release: &str,
    chart: &std::path::Path,
    values: &[String],
) -> anyhow::Result<()> {
    let mut arguments = vec!["upgrade".to_owned(), "--install".to_owned()];
    arguments.extend([release.to_owned(), chart.display().to_string()]);
    arguments.extend(["--wait", "--timeout", "3m", "--history-max", "3"].map(str::to_owned));
    for value in values {
        arguments.extend(["--set-string".to_owned(), value.clone()]);
    }
    let installed = helm(site, arguments).await;
    installed
        .map(drop)
        .with_context(|| format!("cannot install {release}"))
}

async fn helm(site: &Site, arguments: impl IntoIterator<Item = String>) -> anyhow::Result<String> {
    command::run(site.tool("helm"), with_place(site, arguments)).await
}

/// With the arguments that say where.
fn with_place(
    site: &Site,
    arguments: impl IntoIterator<Item = String>,
) -> impl Iterator<Item = String> {
    let kubeconfig = site.lab.kubeconfig().display().to_string();
    let fixed = ["--kubeconfig", &kubeconfig, "--namespace", NAMESPACE].map(str::to_owned);
    arguments.into_iter().chain(fixed)
}

/// Forgets revisions whose Helm was ended in the middle: Helm takes them for another one at work.
async fn forget_interrupted(site: &Site) -> anyhow::Result<()> {
    let secrets = site.cluster.objects::<Secret>(NAMESPACE);
    let pending = "owner=helm,status in (pending-install,pending-upgrade,pending-rollback)";
    for found in secrets.list(&ListParams::default().labels(pending)).await? {
        secrets
            .delete(&found.name_any(), &DeleteParams::default())
            .await?;
    }
    Ok(())
}
