//! Images that cannot be used: no pod of the application is touched, and the condition says why.

use anyhow::Context;
use outrigger_api::IntegrationSidecar;
use outrigger_api::conditions::reason;
use outrigger_control::Phase;
use outrigger_e2e::cluster;
use outrigger_e2e::images::{Image, Recipe};
use outrigger_e2e::load::Orders;
use outrigger_e2e::observe::Totals;
use outrigger_e2e::project;
use outrigger_e2e::shop::{self, SIDECAR, Shop};
use outrigger_e2e::slots;
use outrigger_e2e::trial::run_name;
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, program, test, tools};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(an_image_that_does_not_exist_reaches_no_pod),
        test!(an_image_of_another_architecture_reaches_no_pod),
        test!(a_program_of_another_architecture_reaches_no_pod),
        test!(an_image_that_crashes_at_once_reaches_no_pod),
        test!(an_image_that_refuses_its_configuration_reaches_no_pod),
        test!(an_image_with_a_named_user_runs_with_the_number_of_all_slots),
    ]
}

/// The message of a refused image.
fn refused(sidecar: &IntegrationSidecar, image: &str) -> Option<String> {
    let status = sidecar.status.as_ref()?;
    let mut conditions = status.conditions.iter();
    let ready = conditions.find(|found| found.type_ == "Ready")?;
    (sidecar.spec.image == image
        && status.observed_generation == sidecar.metadata.generation
        && ready.reason == reason::PREFLIGHT_FAILED)
        .then(|| ready.message.clone())
}

/// Asks for an image under load, and shows that it is refused with certain words, that no pod is
/// touched, that new pods get the former image, and that the way back is open.
async fn reaches_no_pod(
    scene: Scene<'_>,
    shop: &Shop,
    image: &str,
    expected: &[&str],
) -> anyhow::Result<()> {
    reaches_no_pod_until(scene, shop, image, expected, async { Ok(()) }).await
}

/// [`reaches_no_pod`], with what is wrong beside the image and is mended before the way back.
async fn reaches_no_pod_until(
    scene: Scene<'_>,
    shop: &Shop,
    image: &str,
    expected: &[&str],
    mend: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let first = &scene.stage.sidecars[0];
    shop.settled().await?;
    let before = shop.pods().await?.remove(0);
    let observer = shop.observe().await?;
    let load = shop.load(100, &Orders::new(run_name())).await?;
    shop.set_image(image).await?;
    let api = shop.sidecars();
    let found = cluster::wait(&api, SIDECAR, "PreflightFailed", PATIENCE * 2, |found| {
        refused(found, image).is_some()
    });
    let found = found.await?;
    let message = refused(&found, image).context("it has changed")?;
    scene.say(format_args!("refused: {message}"));
    for words in expected {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    let status = found.status.context("no status")?;
    assert!(shop::condition_is(&status.conditions, "Stalled", "True"));
    assert_eq!(observer.totals(), Totals::default());
    assert_eq!(observer.phases(), []);
    let after = shop.pods().await?.remove(0);
    assert_eq!(slots::order(&after, SIDECAR)?.phase, Phase::Rest);
    assert_eq!(after.metadata.uid, before.metadata.uid);

    mend.await?;
    // A failed revision is never injected.
    shop.scale(2).await?;
    shop::has_image(&shop.pods().await?, first)?;
    shop.set_image(&first.reference).await?;
    shop.settled().await?;
    load.answers(50, PATIENCE).await?;
    let outcome = load.stop().await;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    assert_eq!(outcome.progress.connections_closed, 0);
    Ok(())
}

async fn an_image_that_does_not_exist_reaches_no_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    let image = format!("{}:missing", scene.stage.sidecars[0].repository());
    reaches_no_pod(scene, &shop, &image, &[&image, "not found"]).await
}

async fn an_image_of_another_architecture_reaches_no_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    let recipe = Recipe {
        platform: "linux/arm64".to_owned(),
        index: true,
        ..Recipe::product("sidecar", project::VERSION)?
    };
    let image = ensure(scene, &recipe).await?;
    let shop = scene.open(&scene.example()?).await?;
    reaches_no_pod(scene, &shop, &image.reference, &["no match for platform"]).await
}

async fn a_program_of_another_architecture_reaches_no_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    // e_machine of elf(5): 183 is EM_AARCH64.
    let mut binary = std::fs::read(project::binaries().join("outrigger-sidecar"))?;
    binary[18] = 183;
    let entrypoint = "USER 65532\nENTRYPOINT [\"/bin/busybox\"]";
    let image = ensure(scene, &program("foreign", entrypoint, binary)).await?;
    let shop = scene.open(&scene.example()?).await?;
    reaches_no_pod(scene, &shop, &image.reference, &["exec format error"]).await
}

async fn an_image_that_crashes_at_once_reaches_no_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    let entrypoint =
        r#"ENTRYPOINT ["/bin/sh", "-c", "echo the moon is in the wrong house >&2; exit 3"]"#;
    let image = ensure(scene, &tools(entrypoint)?).await?;
    let shop = scene.open(&scene.example()?).await?;
    let expected = ["the moon is in the wrong house"];
    reaches_no_pod(scene, &shop, &image.reference, &expected).await
}

async fn an_image_that_refuses_its_configuration_reaches_no_pod(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    scene
        .cluster()
        .apply(&example.of_kinds(&["Namespace"]))
        .await?;
    // A Secret is for the slots' eyes alone: only they can refuse what is in it.
    let secret = |bytes: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "limits", "namespace": scene.namespace},
            "stringData": {"maxDocumentBytes": bytes},
        })
    };
    scene.cluster().apply_one(&secret("4096")).await?;
    let function = &mut example.object("IntegrationSidecar")?["spec"]["functions"][0];
    function["configFrom"] = json!([{"secretRef": {"name": "limits"}}]);
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    scene.cluster().apply_one(&secret("many")).await?;
    let image = &scene.stage.sidecars[1].reference;
    let expected = [
        "Secret limits",
        "maxDocumentBytes is \"many\"",
        "a whole number",
    ];
    let mended = secret("4096");
    let mend = async { scene.cluster().apply_one(&mended).await.map(drop) };
    reaches_no_pod_until(scene, &shop, image, &expected, mend).await
}

async fn an_image_with_a_named_user_runs_with_the_number_of_all_slots(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut recipe = Recipe::product("sidecar", project::VERSION)?;
    recipe.dockerfile = recipe.dockerfile.replace("USER 65532:65532", "USER nobody");
    let image = ensure(scene, &recipe).await?;
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    shop.swap(&image, &observer).await?;
    assert_eq!(observer.totals().ready_transitions, 0);
    for pod in shop.pods().await? {
        for slot in outrigger_control::Slot::BOTH {
            let container = slots::container(&pod, SIDECAR, slot)?;
            for process in outrigger_e2e::processes::of(container)? {
                let status = format!("/proc/{}/status", process.pid.as_raw_nonzero());
                let status = std::fs::read_to_string(status)?;
                assert!(status.contains("Uid:\t65532\t65532"), "{status}");
            }
        }
    }
    Ok(())
}

async fn ensure(scene: Scene<'_>, recipe: &Recipe) -> anyhow::Result<Image> {
    scene.stage.site.images.ensure(recipe).await
}
