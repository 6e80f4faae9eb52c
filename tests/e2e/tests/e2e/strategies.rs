//! How many pods get a new image, how, and when.

use std::collections::BTreeSet;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::ListParams;
use outrigger_api::conditions::reason;
use outrigger_e2e::images::{File, Image, Recipe};
use outrigger_e2e::load::{Load, Orders};
use outrigger_e2e::project;
use outrigger_e2e::shop::{self, Shop};
use outrigger_e2e::swap::most_at_once;
use outrigger_e2e::trial::run_name;
use serde_json::{Value, json};

use crate::crashes::only_in_a_worker;
use crate::scene::{PATIENCE, Scene, Test, busybox, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(two_pods_are_swapped_at_once_and_never_three),
        test!(an_image_that_crashes_after_the_handover_is_taken_back_from_its_first_pods),
        test!(a_staged_image_reaches_new_pods_and_the_others_when_resumed),
        test!(a_partition_keeps_pods_on_their_image),
        test!(recreate_evicts_pods_and_gives_their_successors_the_image),
    ]
}

/// The example with so many pods, and rules of its update.
async fn open(scene: Scene<'_>, replicas: u8, update: Value) -> anyhow::Result<Shop> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(replicas);
    example.object("IntegrationSidecar")?["spec"]["update"] = update;
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    Ok(shop)
}

/// Lets some more orders come, and shows that all were answered over connections that stayed open.
async fn nothing_is_lost(load: Load) -> anyhow::Result<()> {
    load.answers(100, PATIENCE).await?;
    let outcome = load.stop().await;
    let first = outcome.failures.first();
    assert_eq!(outcome.progress.failed, 0, "{first:?}");
    assert_eq!(outcome.progress.connections_closed, 0);
    Ok(())
}

/// The names of the pods with an image in all of their slots.
fn with_image(pods: &[Pod], image: &Image) -> BTreeSet<String> {
    let has = |pod: &&Pod| shop::has_image(std::slice::from_ref(*pod), image).is_ok();
    pods.iter().filter(has).map(ResourceExt::name_any).collect()
}

async fn two_pods_are_swapped_at_once_and_never_three(scene: Scene<'_>) -> anyhow::Result<()> {
    let update = json!({"soakSeconds": 2, "maxUnavailable": "50%"});
    let shop = open(scene, 4, update).await?;
    let observer = shop.observe().await?;
    let load = shop.load(300, &Orders::new(run_name())).await?;
    let swap = shop.swap(&scene.stage.sidecars[1], &observer).await?;
    scene.say(format_args!("{:.1} s", swap.took().as_secs_f64()));
    nothing_is_lost(load).await?;
    assert_eq!(most_at_once(&observer.phases()), 2);
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    assert_eq!(totals.slot_replacements, 8);
    Ok(())
}

/// The sidecar, whose workers are killed some seconds after each start, when a pod soaks.
fn killed_later() -> anyhow::Result<Recipe> {
    let script = r#"if [ "$1" = slot ]; then
    (while busybox sleep 12; do
        for process in /proc/[0-9]*; do
            read -r name < $process/comm
            case $process:$name in
                /proc/1:*) ;;
                *:exe) kill -9 ${process#/proc/} ;;
            esac
        done
    done) &
fi
exec /outrigger-sidecar "$@"
"#;
    let recipe = Recipe::product("sidecar", project::VERSION)?;
    let from = recipe.dockerfile.find("FROM scratch AS sidecar");
    let (before, sidecar) = recipe
        .dockerfile
        .split_at(from.context("no stage sidecar")?);
    let sidecar = sidecar.replacen(
        r#"ENTRYPOINT ["/outrigger-sidecar"]"#,
        "ENV PATH=/bin\nCOPY busybox /bin/busybox\nCOPY busybox /bin/sh\nCOPY start /start\n\
         ENTRYPOINT [\"/bin/sh\", \"/start\"]",
        1,
    );
    let mut files = recipe.files;
    files.push(busybox()?);
    files.push(File {
        path: "start".to_owned(),
        content: script.into(),
        executable: true,
    });
    Ok(Recipe {
        repository: "e2e/killed-later".to_owned(),
        dockerfile: [before, &sidecar].concat(),
        files,
        ..recipe
    })
}

async fn an_image_that_crashes_after_the_handover_is_taken_back_from_its_first_pods(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let bad = scene.stage.site.images.ensure(&killed_later()?).await?;
    let update = json!({"soakSeconds": 60, "maxUnavailable": 2});
    let shop = open(scene, 4, update).await?;
    let observer = shop.observe().await?;
    let load = shop.load(200, &Orders::new(run_name())).await?;
    let first = &scene.stage.sidecars[0];
    let taken_back = async {
        shop.set_image(&bad.reference).await?;
        let message = shop.says(reason::REVISION_FAILED).await?;
        scene.say(format_args!("taken back: {message}"));
        observer
            .wait("the old image in all slots", PATIENCE, |record| {
                shop::has_image(&record.pods(), first).ok()
            })
            .await?;
        load.answers(200, PATIENCE).await
    };
    let taken_back = taken_back.await;
    let outcome = load.stop().await;
    taken_back?;
    // Only what was in a killed worker failed.
    only_in_a_worker(&outcome);
    assert!(outcome.progress.failed < 20, "{:?}", outcome.progress);
    assert_eq!(outcome.progress.connections_closed, 0);
    let phases = observer.phases();
    let touched: BTreeSet<_> = phases.iter().map(|change| &change.pod).collect();
    assert!(touched.len() <= 2, "{touched:?}");
    assert_eq!(most_at_once(&phases), touched.len());
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    let line = format!("-n {} rollout history orders", scene.namespace);
    let history = scene.stage.site.plugin(&line).await?;
    ensure!(history.contains("failed"), "{history}");
    Ok(())
}

async fn a_staged_image_reaches_new_pods_and_the_others_when_resumed(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let update = json!({"strategy": "Staged", "soakSeconds": 1});
    let shop = open(scene, 2, update).await?;
    let [first, second] = &scene.stage.sidecars;
    let running = with_image(&shop.pods().await?, first);
    assert_eq!(running.len(), 2);
    let observer = shop.observe().await?;
    let load = shop.load(200, &Orders::new(run_name())).await?;
    shop.set_image(&second.reference).await?;
    let message = shop.says(reason::STAGED).await?;
    scene.say(message);
    shop.scale(3).await?;
    let pods = shop.pods().await?;
    assert_eq!(with_image(&pods, first), running);
    assert_eq!(with_image(&pods, second).len(), 1);
    assert_eq!(observer.phases(), []);

    let place = format!("-n {}", scene.namespace);
    let plugin = async |line: &str| {
        let said = scene.stage.site.plugin(&format!("{place} {line}")).await?;
        scene.say(said.trim().replace('\n', "\n    "));
        anyhow::Ok(said)
    };
    plugin("rollout resume iside/orders").await?;
    plugin("rollout status iside/orders --watch --timeout 2m").await?;
    shop.settled().await?;
    shop::has_image(&shop.pods().await?, second)?;
    nothing_is_lost(load).await?;
    let swapped: BTreeSet<_> = observer.phases().into_iter().map(|it| it.pod).collect();
    assert_eq!(swapped, running);
    assert_eq!(observer.totals().primary_restarts, 0);
    Ok(())
}

async fn a_partition_keeps_pods_on_their_image(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = open(scene, 3, json!({"soakSeconds": 1, "partition": 2})).await?;
    let [first, second] = &scene.stage.sidecars;
    let observer = shop.observe().await?;
    shop.set_image(&second.reference).await?;
    let message = shop.says(reason::PARTITION_REACHED).await?;
    scene.say(message);
    let pods = shop.pods().await?;
    let names: BTreeSet<_> = pods.iter().map(ResourceExt::name_any).collect();
    let swapped = with_image(&pods, second);
    assert_eq!(Vec::from_iter(&swapped), Vec::from_iter(names.first()));
    assert_eq!(with_image(&pods, first).len(), 2);

    shop.set_update(json!({"partition": 0})).await?;
    shop.settled().await?;
    shop::has_image(&shop.pods().await?, second)?;
    assert_eq!(observer.totals().ready_transitions, 0);
    Ok(())
}

async fn recreate_evicts_pods_and_gives_their_successors_the_image(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let shop = open(scene, 2, json!({"strategy": "Recreate"})).await?;
    let [first, second] = &scene.stage.sidecars;
    let observer = shop.observe().await?;
    let former = with_image(&shop.pods().await?, first);
    assert_eq!(former.len(), 2);
    shop.set_image(&second.reference).await?;
    shop.settled().await?;
    let successors = with_image(&shop.pods().await?, second);
    assert_eq!(successors.len(), 2);
    ensure!(former.is_disjoint(&successors), "{former:?} {successors:?}");
    // No slot of a running pod was touched: each pod went with the image that it was created with.
    assert_eq!(observer.phases(), []);
    assert_eq!(observer.totals().slot_replacements, 0);
    let events = scene.cluster().objects::<Event>(scene.namespace);
    let events = events.list(&ListParams::default()).await?;
    let evicted = events
        .iter()
        .filter(|event| event.reason.as_deref() == Some("Recreating"));
    let evicted: BTreeSet<_> = evicted
        .filter_map(|event| event.related.as_ref())
        .filter(|related| related.kind.as_deref() == Some("Pod"))
        .filter_map(|related| related.name.clone())
        .collect();
    assert_eq!(evicted, former);
    Ok(())
}
