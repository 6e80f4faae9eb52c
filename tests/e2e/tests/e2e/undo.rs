//! `kubectl outrigger rollout`, under load.

use outrigger_e2e::load::Orders;
use outrigger_e2e::shop;
use outrigger_e2e::trial::run_name;
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(a_rollout_is_undone_under_load_and_nothing_is_lost)]
}

async fn a_rollout_is_undone_under_load_and_nothing_is_lost(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(2);
    let shop = scene.open(&example).await?;
    shop.settled().await?;
    let [first, second] = &scene.stage.sidecars;
    let observer = shop.observe().await?;
    let load = shop.load(300, &Orders::new(run_name())).await?;
    shop.swap(second, &observer).await?;

    let plugin = async |line: &str| {
        let line = format!("-n {} rollout {line}", scene.namespace);
        let said = scene.stage.site.plugin(&line).await?;
        scene.say(said.trim().replace('\n', "\n    "));
        anyhow::Ok(said)
    };
    let history = plugin("history orders").await?;
    let state = |history: &str, image: &str| {
        let line = history.lines().find(|line| line.contains(image));
        line.and_then(|line| line.split_whitespace().last())
            .map(str::to_owned)
    };
    assert_eq!(state(&history, &first.reference).as_deref(), Some("former"));
    let present = state(&history, &second.reference);
    assert_eq!(present.as_deref(), Some("current"));

    let undone = plugin("undo iside/orders").await?;
    for words in [
        "rolled back to revision 1",
        &first.reference,
        &second.reference,
    ] {
        assert!(undone.contains(words), "{words} is not in: {undone}");
    }
    let status = plugin("status orders --watch --timeout 3m").await?;
    let last = status.lines().last().unwrap_or_default();
    assert!(last.starts_with("Succeeded: "), "{status}");
    shop.settled().await?;
    shop::has_image(&shop.pods().await?, first)?;
    let history = plugin("history orders").await?;
    let present = state(&history, &first.reference);
    assert_eq!(present.as_deref(), Some("current"), "{history}");

    load.answers(300, PATIENCE).await?;
    let outcome = load.stop().await;
    let failure = outcome.failures.first();
    assert_eq!(outcome.progress.failed, 0, "{failure:?}");
    assert_eq!(outcome.progress.connections_closed, 0);
    let totals = observer.totals();
    assert_eq!((totals.ready_transitions, totals.primary_restarts), (0, 0));
    Ok(())
}
