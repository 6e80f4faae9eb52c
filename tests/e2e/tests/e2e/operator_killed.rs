//! The operator is killed in each phase of a swap: in the end all is as after a calm one.

use std::time::Duration;

use futures::future::try_join;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use outrigger_control::{Phase, Slot, layout};
use outrigger_e2e::load::Orders;
use outrigger_e2e::observe::{Observer, Totals};
use outrigger_e2e::shop::{SIDECAR, Shop, has_image};
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{cluster, install, processes, slots};

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(the_operator_killed_in_the_preflight_changes_no_outcome),
        test!(the_operator_killed_in_patch_standby_changes_no_outcome),
        test!(the_operator_killed_in_warm_changes_no_outcome),
        test!(the_operator_killed_in_handover_changes_no_outcome),
        test!(the_operator_killed_in_soak_changes_no_outcome),
        test!(the_operator_killed_in_patch_old_changes_no_outcome),
    ]
}

async fn the_operator_killed_in_the_preflight_changes_no_outcome(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    killed(scene, None).await
}

async fn the_operator_killed_in_patch_standby_changes_no_outcome(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    killed(scene, Some(Phase::PatchStandby)).await
}

async fn the_operator_killed_in_warm_changes_no_outcome(scene: Scene<'_>) -> anyhow::Result<()> {
    killed(scene, Some(Phase::Warm)).await
}

async fn the_operator_killed_in_handover_changes_no_outcome(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    killed(scene, Some(Phase::Handover)).await
}

async fn the_operator_killed_in_soak_changes_no_outcome(scene: Scene<'_>) -> anyhow::Result<()> {
    killed(scene, Some(Phase::Soak)).await
}

async fn the_operator_killed_in_patch_old_changes_no_outcome(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    killed(scene, Some(Phase::PatchOld)).await
}

/// What there is after a swap, apart from names and images.
#[derive(Debug, PartialEq)]
struct End {
    totals: Totals,
    active_changed: bool,
    same_revision: bool,
    same_configuration: bool,
}

/// A calm swap, and one in which the operator is killed when a phase is seen; `None` stands for the
/// preflight. Both under load.
async fn killed(scene: Scene<'_>, phase: Option<Phase>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let load = shop.load(100, &Orders::new(run_name())).await?;
    let [first, second] = &scene.stage.sidecars;
    let outcomes = async {
        let (before, observer) = (active(&shop).await?, shop.observe().await?);
        shop.swap(second, &observer).await?;
        let calm = end(scene, &shop, &observer, before).await?;

        let (before, observer) = (active(&shop).await?, shop.observe().await?);
        let kill = async {
            seen(scene, &observer, phase).await?;
            kill_operator(scene).await
        };
        try_join(shop.swap(first, &observer), kill).await?;
        has_image(&shop.pods().await?, first)?;
        anyhow::Ok((calm, end(scene, &shop, &observer, before).await?))
    };
    let outcomes = outcomes.await;
    let outcome = load.stop().await;
    let (calm, killed) = outcomes?;
    assert_eq!(calm, killed);
    let expected = Totals {
        slot_replacements: 2,
        ..Totals::default()
    };
    assert_eq!(killed.totals, expected);
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    assert_eq!(outcome.progress.connections_closed, 0);
    Ok(())
}

async fn active(shop: &Shop) -> anyhow::Result<Slot> {
    let pod = shop.pods().await?.remove(0);
    slots::active(&pod, SIDECAR).await
}

async fn end(
    scene: Scene<'_>,
    shop: &Shop,
    observer: &Observer,
    before: Slot,
) -> anyhow::Result<End> {
    let pod = shop.pods().await?.remove(0);
    let order = slots::order(&pod, SIDECAR)?;
    let after = slots::active(&pod, SIDECAR).await?;
    assert_eq!(order.phase, Phase::Rest);
    assert_eq!(order.active, after);
    no_preflight_left(scene).await?;
    Ok(End {
        totals: observer.totals(),
        active_changed: before != after,
        same_revision: order.revision.a == order.revision.b,
        same_configuration: order.config.a == order.config.b,
    })
}

pub(crate) async fn no_preflight_left(scene: Scene<'_>) -> anyhow::Result<()> {
    let pods = scene.pods();
    let label = layout::PREFLIGHT_LABEL;
    cluster::wait_all(
        &pods,
        label,
        "no preflight left",
        PATIENCE,
        |pods: &[Pod]| pods.is_empty(),
    )
    .await
    .map(drop)
}

/// Waits for a phase.
pub(crate) async fn seen(
    scene: Scene<'_>,
    observer: &Observer,
    phase: Option<Phase>,
) -> anyhow::Result<()> {
    let Some(phase) = phase else {
        let what = "a preflight";
        let pods = scene.pods();
        let found = cluster::wait_all(&pods, layout::PREFLIGHT_LABEL, what, PATIENCE, |pods| {
            !pods.is_empty()
        });
        return found.await.map(drop);
    };
    let what = format!("phase {phase}");
    observer
        .wait(&what, PATIENCE, |record| {
            let mut changes = record.phases().iter();
            changes.find(|change| change.phase == phase).map(drop)
        })
        .await
}

/// `kill -9` of every replica that runs, and pods in their place whose start is not delayed by the
/// crash. Soon after an earlier kill some may not have started yet; they are replaced all the same.
pub(crate) async fn kill_operator(scene: Scene<'_>) -> anyhow::Result<()> {
    let api = scene.cluster().objects::<Pod>(install::NAMESPACE);
    let patience = Duration::from_secs(90);
    let killed = cluster::wait_all(&api, install::SELECTOR, "a replica", patience, |pods| {
        pods.iter().any(|pod| process(pod).is_some())
    })
    .await?;
    for process in killed.iter().filter_map(process) {
        process.kill()?;
    }
    let at_once = DeleteParams::default().grace_period(0);
    for pod in &killed {
        api.delete(&pod.name_any(), &at_once).await?;
    }
    let names: Vec<_> = killed.iter().map(ResourceExt::name_any).collect();
    cluster::wait_all(
        &api,
        install::SELECTOR,
        "other replicas",
        patience,
        |pods| {
            pods.iter()
                .all(|pod: &Pod| !names.contains(&pod.name_any()))
                && !pods.is_empty()
        },
    )
    .await?;
    let left = api
        .list(&ListParams::default().labels(install::SELECTOR))
        .await?;
    scene.say(format_args!(
        "killed {}; now {}",
        names.join(", "),
        left.items.len()
    ));
    Ok(())
}

/// The operator's process in a pod, if it runs.
fn process(pod: &Pod) -> Option<processes::Process> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    processes::first(statuses.first()?).ok()
}
