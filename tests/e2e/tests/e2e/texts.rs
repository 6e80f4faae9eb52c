//! What people read: `kubectl get`, `describe`, `explain`.

use anyhow::Context;

use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(kubectl_tells_the_story_without_logs)]
}

async fn kubectl_tells_the_story_without_logs(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    shop.settled().await?;
    let observer = shop.observe().await?;
    let [first, second] = &scene.stage.sidecars;
    shop.swap(second, &observer).await?;

    let site = &scene.stage.site;
    let ns = scene.namespace;
    let table = site.kubectl("get iapp,iside -A").await?;
    let row = |kind: &str| {
        let mut rows = table.lines();
        let row = rows.find(|row| row.starts_with(ns) && row.contains(kind));
        row.with_context(|| format!("{kind} in {ns} is not in\n{table}"))
    };
    for column in ["READY", "REASON", "PODS", "INJECTED", "UPDATED", "IMAGE"] {
        assert!(table.contains(column), "{column} is not in\n{table}");
    }
    assert!(row("integratedapp.")?.contains("True"), "{table}");
    let sidecar = row("integrationsidecar.")?;
    assert!(sidecar.contains(&second.reference), "{table}");

    let told = site
        .kubectl(&format!("-n {ns} describe iside orders"))
        .await?;
    for words in [
        "Current Revision",
        &second.digest,
        "Conditions",
        "Events",
        "PreflightSucceeded",
        "SwapStarted",
        "StandbyStarted",
        "HandoverSucceeded",
        "SoakSucceeded",
        "SwapSucceeded",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    let told = site
        .kubectl(&format!("-n {ns} describe iapp checkout"))
        .await?;
    for words in ["Conditions", "orders=http://127.0.0.1:15000"] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    let told = site.kubectl("explain iside.spec.update").await?;
    for words in [
        "How a new image reaches running pods",
        "soakSeconds",
        "paused",
        "ready to take over",
    ] {
        assert!(told.contains(words), "{words} is not in\n{told}");
    }
    assert_ne!(first.digest, second.digest);
    Ok(())
}
