//! PostgreSQL away, at start and in the middle, and read-only.

use std::time::Duration;

use outrigger_e2e::fetch;
use outrigger_e2e::load::{Orders, verify};
use outrigger_e2e::observe::Totals;
use outrigger_e2e::shop::Shop;
use outrigger_e2e::trial::run_name;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(pods_that_start_without_their_database_serve_when_it_comes),
        test!(an_outage_of_the_database_is_told_and_loses_nothing),
        test!(a_read_only_database_is_told_until_it_takes_writes_again),
    ]
}

/// Posts an order until the answer has a status; gives the others' texts.
async fn until(shop: &Shop, order: &str, status: u16) -> anyhow::Result<Vec<String>> {
    let url = format!("http://{}/orders", shop.targets().await?[0]);
    let begin = Instant::now();
    let mut texts = Vec::new();
    loop {
        let answer = fetch::post(&url, json!({"orderId": order}).to_string()).await?;
        if answer.status == status {
            return Ok(texts);
        }
        texts.push(format!("{}: {}", answer.status, answer.text()));
        anyhow::ensure!(
            begin.elapsed() < PATIENCE,
            "no {status}: {:?}",
            texts.last()
        );
        // A client that tries again, at its own pace.
        sleep(Duration::from_millis(100)).await;
    }
}

async fn pods_that_start_without_their_database_serve_when_it_comes(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let lab = &scene.stage.site.lab;
    let postgres = lab.component("postgres")?;
    let example = scene.example()?;
    let first = ["Namespace", "Secret", "IntegrationSidecar", "IntegratedApp"];
    scene.cluster().apply(&example.of_kinds(&first)).await?;
    scene.ready_application("checkout").await?;
    postgres.stop()?;
    let tried = async {
        // The application is ready: what it does without its store is its own affair.
        let shop = scene.open(&example).await?;
        let observer = shop.observe().await?;
        let told = until(&shop, "1", 503).await?;
        let url = format!("http://{}/orders", shop.targets().await?[0]);
        let answer = fetch::post(&url, r#"{"orderId": "1"}"#).await?.text();
        assert!(answer.contains("not stored"), "{answer} after {told:?}");
        assert!(answer.contains("postgresql.database.svc"), "{answer}");
        anyhow::Ok((shop, observer))
    };
    let tried = tried.await;
    postgres.start()?;
    let (shop, observer) = tried?;
    until(&shop, "1", 201).await?;
    until(&shop, "1", 200).await?;
    assert_eq!(observer.totals(), Totals::default());
    Ok(())
}

async fn an_outage_of_the_database_is_told_and_loses_nothing(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    let observer = shop.observe().await?;
    let orders = Orders::new(run_name());
    let load = shop.load(100, &orders).await?;
    load.answers(300, PATIENCE).await?;
    let postgres = scene.stage.site.lab.component("postgres")?;
    postgres.kill()?;
    let told = until(&shop, "away", 503).await;
    postgres.start()?;
    told?;
    until(&shop, "back", 201).await?;
    load.answers(300, PATIENCE).await?;
    let outcome = load.stop().await;
    assert!(outcome.progress.failed > 0);
    scene.say(format_args!("{:?}", outcome.progress));
    // Not one connection of the application's clients was closed, not one pod became unready.
    assert_eq!(outcome.progress.connections_closed, 0);
    assert_eq!(observer.totals(), Totals::default());
    let verdict = verify(&outcome.answers, &scene.database.rows(&orders).await?);
    assert_eq!(
        (verdict.lost, verdict.duplicated, verdict.wrong_conflicts),
        (0, 0, 0)
    );
    Ok(())
}

async fn a_read_only_database_is_told_until_it_takes_writes_again(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    until(&shop, "1", 201).await?;
    scene.database.set_read_only(true).await?;
    until(&shop, "2", 503).await?;
    let url = format!("http://{}/orders", shop.targets().await?[0]);
    let answer = fetch::post(&url, r#"{"orderId": "2"}"#).await?.text();
    assert!(answer.contains("read-only"), "{answer}");
    scene.database.set_read_only(false).await?;
    until(&shop, "2", 201).await?;
    until(&shop, "1", 200).await?;
    Ok(())
}
