//! Applications that share one sidecar definition.

use k8s_openapi::api::apps::v1::Deployment;
use outrigger_e2e::cluster;
use outrigger_e2e::fetch;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::slots;
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, Test, remove, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![test!(
        two_applications_with_different_keys_share_one_sidecar_definition
    )]
}

async fn two_applications_with_different_keys_share_one_sidecar_definition(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    let shop = scene.open(&example).await?;

    let application = example.object("IntegratedApp")?;
    application["metadata"]["name"] = json!("returns");
    application["spec"]["workloadRef"]["name"] = json!("returns");
    application["spec"]["sidecars"][0]["parameters"][0]["idempotency"]["keyFields"] =
        json!(["/customer/id", "/orderId"]);
    scene.cluster().apply_one(application).await?;
    scene.ready_application("returns").await?;
    let deployment = example.object("Deployment")?;
    deployment["metadata"]["name"] = json!("returns");
    let labels = json!({"app.kubernetes.io/name": "returns"});
    deployment["spec"]["selector"]["matchLabels"] = labels.clone();
    deployment["spec"]["template"]["metadata"]["labels"] = labels;
    remove(
        &mut deployment["spec"]["template"]["spec"],
        "topologySpreadConstraints",
    );
    scene.cluster().apply_one(deployment).await?;
    let api = scene.cluster().objects::<Deployment>(scene.namespace);
    cluster::wait(&api, "returns", "available", PATIENCE, is_rolled_out).await?;
    let selector = "app.kubernetes.io/name=returns";
    let pods = scene.pods();
    let found = cluster::wait_all(&pods, selector, "an address", PATIENCE, |pods| {
        pods.len() == 1 && slots::address(&pods[0]).is_ok()
    });
    let returns = slots::address(&found.await?[0])?;

    let post = async |address: String, document: Value| {
        let url = format!("http://{address}/orders");
        anyhow::Ok(
            fetch::post(&url, document.to_string())
                .await?
                .status
                .as_u16(),
        )
    };
    let (one, other) = (
        shop.targets().await?[0].to_string(),
        format!("{returns}:8080"),
    );
    let order = |customer: u8| json!({"orderId": "7", "customer": {"id": customer}});
    assert_eq!(post(one.clone(), order(1)).await?, 201);
    assert_eq!(post(one, order(2)).await?, 200, "its key is orderId alone");
    assert_eq!(
        post(other.clone(), order(1)).await?,
        201,
        "applications do not meet"
    );
    assert_eq!(
        post(other.clone(), order(2)).await?,
        201,
        "its key has two fields"
    );
    assert_eq!(post(other, order(2)).await?, 200);

    let sidecar = shop.sidecars().get("orders").await?;
    let applications = sidecar.status.map(|status| status.applications);
    assert_eq!(
        applications,
        Some(vec!["checkout".to_owned(), "returns".to_owned()])
    );
    Ok(())
}
