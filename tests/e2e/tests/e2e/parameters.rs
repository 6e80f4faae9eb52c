//! Parameters of functions from ConfigMaps and Secrets.

use std::time::Duration;

use anyhow::ensure;
use outrigger_api::conditions::reason;
use outrigger_control::Slot;
use outrigger_e2e::observe::{Observer, Totals};
use outrigger_e2e::shop::{SIDECAR, Shop};
use outrigger_e2e::{fetch, slots};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::scene::{PATIENCE, Scene, Test, remove, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_changed_config_map_is_taken_over_without_a_restart),
        test!(a_parameter_comes_from_a_secret),
    ]
}

async fn post(shop: &Shop, document: Value) -> anyhow::Result<u16> {
    let url = format!("http://{}/orders", shop.targets().await?[0]);
    let answer = fetch::post(&url, document.to_string()).await?;
    Ok(answer.status.as_u16())
}

fn config_map(scene: Scene<'_>, key_fields: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "keys", "namespace": scene.namespace},
        "data": {"keyFields": key_fields},
    })
}

/// The hash of the configuration in the pod's order.
fn ordered(observer: &Observer) -> Option<String> {
    let pod = observer.pods().pop()?;
    let order = slots::order(&pod, SIDECAR).ok()?;
    (order.config.a == order.config.b).then_some(order.config.a)
}

/// Waits until both slots use a configuration. They can only be asked.
async fn in_use(shop: &Shop, hash: &str) -> anyhow::Result<()> {
    let begin = Instant::now();
    let pod = shop.pods().await?.remove(0);
    for slot in Slot::BOTH {
        loop {
            let report = slots::report(&pod, SIDECAR, slot).await?;
            if report.configuration.hash.as_deref() == Some(hash) {
                break;
            }
            ensure!(begin.elapsed() < PATIENCE, "slot {slot} says {report:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}

async fn a_changed_config_map_is_taken_over_without_a_restart(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    scene
        .cluster()
        .apply(&example.of_kinds(&["Namespace"]))
        .await?;
    scene
        .cluster()
        .apply_one(&config_map(scene, "[\"/orderId\"]"))
        .await?;
    let function = &mut example.object("IntegrationSidecar")?["spec"]["functions"][0];
    function["configFrom"] = json!([{"configMapRef": {"name": "keys"}}]);
    let usage = &mut example.object("IntegratedApp")?["spec"]["sidecars"][0];
    remove(usage, "parameters");
    let shop = scene.open(&example).await?;
    let observer = shop.observe().await?;
    let order = |id: u8, number: u8| json!({"orderId": id, "number": number});
    assert_eq!(post(&shop, order(1, 1)).await?, 201);
    assert_eq!(post(&shop, order(1, 2)).await?, 200);

    let before = ordered(&observer);
    let change = config_map(scene, "[\"/orderId\", \"/number\"]");
    scene.cluster().apply_one(&change).await?;
    let hash = observer.wait("another configuration in the order", PATIENCE, |record| {
        let order = slots::order(record.pods().first()?, SIDECAR).ok()?;
        let hash = order.config.a.clone();
        (order.config.b == hash && Some(&hash) != before.as_ref()).then_some(hash)
    });
    let hash = hash.await?;
    in_use(&shop, &hash).await?;
    assert_eq!(post(&shop, order(1, 3)).await?, 201);
    assert_eq!(post(&shop, order(1, 3)).await?, 200);

    // What does not fit is refused with its source, and the last good one goes on.
    let wrong = config_map(scene, "/orderId");
    scene.cluster().apply_one(&wrong).await?;
    let message = scene
        .unready_application("checkout", reason::INVALID_PARAMETERS)
        .await?;
    for words in ["ConfigMap keys", "keyFields is \"/orderId\"", "allowed is"] {
        assert!(message.contains(words), "{words} is not in: {message}");
    }
    assert_eq!(ordered(&observer).as_deref(), Some(hash.as_str()));
    assert_eq!(post(&shop, order(1, 4)).await?, 201);
    scene.cluster().apply_one(&change).await?;
    shop.application_ready().await?;
    assert_eq!(observer.totals(), Totals::default());
    Ok(())
}

async fn a_parameter_comes_from_a_secret(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    scene
        .cluster()
        .apply(&example.of_kinds(&["Namespace"]))
        .await?;
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "keys", "namespace": scene.namespace},
        "stringData": {"keyFields": "[\"/number\"]"},
    });
    scene.cluster().apply_one(&secret).await?;
    let function = &mut example.object("IntegrationSidecar")?["spec"]["functions"][0];
    function["configFrom"] = json!([{"secretRef": {"name": "keys"}}]);
    let usage = &mut example.object("IntegratedApp")?["spec"]["sidecars"][0];
    remove(usage, "parameters");
    let shop = scene.open(&example).await?;
    assert_eq!(post(&shop, json!({"orderId": 1, "number": 1})).await?, 201);
    assert_eq!(post(&shop, json!({"orderId": 2, "number": 1})).await?, 200);
    // The operator's ConfigMap names the Secret, and does not hold what is in it.
    let name = outrigger_control::layout::config_map_name("checkout", SIDECAR);
    let written = scene
        .cluster()
        .objects::<k8s_openapi::api::core::v1::ConfigMap>(scene.namespace)
        .get(&name)
        .await?;
    let written = serde_json::to_string(&written.data)?;
    assert!(
        written.contains("keys") && !written.contains("/number"),
        "{written}"
    );
    Ok(())
}
