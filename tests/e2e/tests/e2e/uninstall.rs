//! Outrigger goes, and what it served goes on.

use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kube::api::PostParams;
use outrigger_e2e::load::Orders;
use outrigger_e2e::observe::Totals;
use outrigger_e2e::shop::SIDECAR;
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{cluster, install};

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        helm_uninstall_leaves_workloads_running_and_no_webhook
    )]
}

async fn helm_uninstall_leaves_workloads_running_and_no_webhook(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let load = shop.load(100, &Orders::new(run_name())).await?;
    load.answers(100, PATIENCE).await?;
    let site = &scene.stage.site;
    let gone = async {
        install::uninstall(site).await?;
        let webhooks = scene
            .cluster()
            .cluster_objects::<MutatingWebhookConfiguration>();
        cluster::gone(&webhooks, install::WEBHOOK, PATIENCE).await?;
        // Pods are created as if there had never been an operator.
        let pod = serde_json::from_value(scene.pod("later"))?;
        let dry = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let pod = scene.pods().create(&dry, &pod).await?;
        let slots = pod.spec.and_then(|spec| spec.init_containers);
        assert_eq!(slots, None);
        load.answers(500, PATIENCE).await
    };
    let gone = gone.await;
    let outcome = load.stop().await;
    // For the tests that come after this one.
    install::install(site, &scene.stage.operator).await?;
    gone?;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    assert_eq!(outcome.progress.connections_closed, 0);
    assert_eq!(observer.totals(), Totals::default());

    // Installed again, it takes up what it finds.
    shop.swap(&scene.stage.sidecars[1], &shop.observe().await?)
        .await?;
    assert_eq!(observer.totals().ready_transitions, 0);
    assert_eq!(
        shop.sidecars()
            .get(SIDECAR)
            .await?
            .status
            .and_then(|status| status.swap),
        None
    );
    Ok(())
}
