//! Applications that share one sidecar definition.

use k8s_openapi::api::apps::v1::Deployment;
use outrigger_api::conditions::reason;
use outrigger_e2e::cluster;
use outrigger_e2e::fetch;
use outrigger_e2e::install::is_rolled_out;
use outrigger_e2e::observe::Totals;
use outrigger_e2e::slots;
use serde_json::{Value, json};

use crate::scene::{PATIENCE, Scene, Test, remove, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(two_applications_with_different_keys_share_one_sidecar_definition),
        test!(pods_that_are_older_than_their_application_are_named_and_left_alone),
        test!(what_only_new_pods_can_have_is_named),
    ]
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

async fn pods_that_are_older_than_their_application_are_named_and_left_alone(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let example = scene.example()?;
    let cluster = scene.cluster();
    cluster.apply(&example.of_kinds(&["Namespace"])).await?;
    cluster.apply_one(&scene.pod("old")).await?;
    scene.adopt_by_label_at_once(&[]).await?;
    let message = scene
        .unready_application("checkout", reason::PODS_NOT_INJECTED)
        .await?;
    for words in ["old", "without the sidecars", "create them anew"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    let pod = scene.pods().get("old").await?;
    assert_eq!(pod.spec.and_then(|spec| spec.init_containers), None);
    Ok(())
}

async fn what_only_new_pods_can_have_is_named(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    let observer = shop.observe().await?;
    let change = json!({"spec": {"resources": {"limits": {"memory": "96Mi"}}}});
    cluster::merge(&shop.sidecars(), "orders", &change).await?;
    let message = scene
        .unready_application("checkout", reason::REQUIRES_RECREATE)
        .await?;
    for words in [
        "spec.initContainers[orders-a].resources",
        "spec.initContainers[orders-b].resources",
        "create them anew",
    ] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert_eq!(observer.totals(), Totals::default());
    Ok(())
}
