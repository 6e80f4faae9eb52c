//! Pods without their sidecars are created anew through eviction, when that is asked for.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_api::conditions::reason;
use outrigger_e2e::cluster;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::shop::{APPLICATION, SELECTOR, Shop};
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        pods_older_than_the_application_are_evicted_when_asked
    )]
}

async fn pods_older_than_the_application_are_evicted_when_asked(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let spec = &mut example.object("Deployment")?["spec"];
    spec["replicas"] = json!(2);
    // One that can do without its sidecar.
    let template = &mut spec["template"]["spec"];
    template["securityContext"]["runAsUser"] = json!(1000);
    let container = &mut template["containers"][0];
    container["image"] = json!(scene.stage.tools.reference);
    let script = "trap 'exit 0' TERM; while :; do busybox sleep 1; done";
    container["command"] = json!(["/bin/sh", "-c", script]);
    container["env"] = json!([{"name": "PATH", "value": "/bin"}]);
    container["readinessProbe"] = json!(null);
    let cluster = scene.cluster();
    let first = ["Namespace", "Secret", "Deployment", "IntegrationSidecar"];
    cluster.apply(&example.of_kinds(&first)).await?;
    let deployments = cluster.objects(scene.namespace);
    cluster::wait(
        &deployments,
        APPLICATION,
        "available",
        PATIENCE,
        is_rolled_out,
    )
    .await?;
    let labels = ListParams::default().labels(SELECTOR);
    let former = scene.pods().list(&labels).await?;

    cluster.apply(&example.of_kinds(&["IntegratedApp"])).await?;
    let message = scene
        .unready_application(APPLICATION, reason::PODS_NOT_INJECTED)
        .await?;
    scene.say(message);
    let names = |pods: &[Pod]| pods.iter().map(ResourceExt::uid).collect::<Vec<_>>();
    assert_eq!(
        names(&scene.pods().list(&labels).await?.items),
        names(&former.items)
    );

    example.object("IntegratedApp")?["spec"]["replacement"] = json!("Evict");
    cluster.apply(&example.of_kinds(&["IntegratedApp"])).await?;
    scene.ready_application(APPLICATION).await?;
    let shop = Shop::at(&scene.stage.site, scene.namespace);
    let pods = shop.pods().await?;
    for pod in &former {
        assert!(pods.iter().all(|other| other.uid() != pod.uid()));
    }
    Ok(())
}
