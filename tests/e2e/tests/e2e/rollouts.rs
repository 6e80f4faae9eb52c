//! Swaps that wait, and swaps that are taken back.

use anyhow::Context;
use outrigger_api::conditions::reason;
use outrigger_control::Phase;
use outrigger_e2e::load::Orders;
use outrigger_e2e::observe::{Observer, Totals};
use outrigger_e2e::shop::{self, SELECTOR, SIDECAR};
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{cluster, processes, slots};
use serde_json::json;

use crate::crashes::only_in_a_worker;
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_paused_sidecar_starts_no_swap),
        test!(a_disruption_budget_is_waited_for),
        test!(a_new_image_whose_worker_crashes_is_taken_back),
    ]
}

/// Nothing was done to the pods.
fn untouched(observer: &Observer) {
    assert_eq!(observer.totals(), Totals::default());
    assert_eq!(observer.phases(), []);
}

async fn a_paused_sidecar_starts_no_swap(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let image = &scene.stage.sidecars[1];
    shop.set_update(json!({"paused": true})).await?;
    shop.set_image(&image.reference).await?;
    let message = shop.says(reason::PAUSED).await?;
    assert!(message.contains("spec.update.paused is true"), "{message}");
    untouched(&observer);
    shop.set_update(json!({"paused": false})).await?;
    shop.settled().await?;
    shop::has_image(&shop.pods().await?, image)
}

async fn a_disruption_budget_is_waited_for(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let (label, value) = SELECTOR.split_once('=').context("a label")?;
    let budget = |most: u8| {
        json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": "calm", "namespace": scene.namespace},
            "spec": {"maxUnavailable": most, "selector": {"matchLabels": {label: value}}},
        })
    };
    scene.cluster().apply_one(&budget(0)).await?;
    let image = &scene.stage.sidecars[1];
    shop.set_image(&image.reference).await?;
    let message = shop.says(reason::WAITING).await?;
    let expected = "PodDisruptionBudget calm allows no disruption";
    assert!(message.contains(expected), "{message}");
    untouched(&observer);
    scene.cluster().apply_one(&budget(1)).await?;
    shop.settled().await?;
    shop::has_image(&shop.pods().await?, image)
}

/// The worker of the new image is killed once, while the old slot is ready to take over.
async fn a_new_image_whose_worker_crashes_is_taken_back(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(2);
    example.object("IntegrationSidecar")?["spec"]["update"] = json!({"soakSeconds": 60});
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let load = shop.load(200, &Orders::new(run_name())).await?;
    let [first, second] = &scene.stage.sidecars;
    let taken_back = async {
        shop.set_image(&second.reference).await?;
        let pod = observer.wait("the soak of a pod", PATIENCE, |record| {
            let mut pods = record.pods().into_iter();
            pods.find(|pod| {
                slots::order(pod, SIDECAR).is_ok_and(|order| order.phase == Phase::Soak)
            })
        });
        let pod = pod.await?;
        let new = slots::active(&pod, SIDECAR).await?;
        processes::worker(slots::container(&pod, SIDECAR, new)?)?.kill()?;
        let message = shop.says(reason::REVISION_FAILED).await?;
        scene.say(format_args!("taken back: {message}"));
        observer
            .wait("the old image in all slots", PATIENCE, |record| {
                shop::has_image(&record.pods(), first).ok()
            })
            .await?;
        load.answers(200, PATIENCE).await?;
        anyhow::Ok(message)
    };
    let taken_back = taken_back.await;
    let outcome = load.stop().await;
    let message = taken_back?;
    for words in ["the rollout has stopped", "set spec.image"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    // Only what was in the killed worker failed, and only one pod was touched.
    only_in_a_worker(&outcome);
    assert!(outcome.progress.failed < 20, "{:?}", outcome.progress);
    assert_eq!(outcome.progress.connections_closed, 0);
    let totals = observer.totals();
    assert_eq!(totals.ready_transitions, 0);
    assert_eq!((totals.primary_restarts, totals.slot_replacements), (0, 2));

    // Another image is tried as if nothing had been.
    cluster::merge(
        &shop.sidecars(),
        SIDECAR,
        &json!({"spec": {"image": first.reference}}),
    )
    .await?;
    shop.settled().await.map(drop)
}
