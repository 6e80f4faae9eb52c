//! CPU and memory of slots, on the real API server: it takes the pods, and their class stays.

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(slots_take_little_and_keep_the_class_of_their_pod),
        test!(slots_have_the_limits_that_a_quota_asks_for),
        test!(slots_keep_within_a_limit_range_and_take_nothing_from_its_defaults),
    ]
}

/// What the API server would make of a pod: its class, and the resources of its slots.
async fn admitted(
    scene: Scene<'_>,
    change: impl FnOnce(&mut Value),
) -> anyhow::Result<(String, Value)> {
    let mut pod = scene.pod("tried");
    change(&mut pod);
    let pod: Pod = serde_json::from_value(pod)?;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let pod = scene.pods().create(&dry, &pod).await?;
    let class = pod.status.and_then(|status| status.qos_class);
    let slots = pod.spec.and_then(|spec| spec.init_containers);
    let slots = serde_json::to_value(slots.context("no slots")?)?;
    assert_eq!(slots[0]["name"], "orders-a");
    assert_eq!(slots[0]["resources"], slots[1]["resources"]);
    Ok((class.context("no class")?, slots[0]["resources"].clone()))
}

fn own(resources: Value) -> impl FnOnce(&mut Value) {
    move |pod| pod["spec"]["containers"][0]["resources"] = resources
}

async fn slots_take_little_and_keep_the_class_of_their_pod(scene: Scene<'_>) -> anyhow::Result<()> {
    scene.adopt_by_label(&[]).await?;
    let both = json!({"cpu": "100m", "memory": "64Mi"});
    let little = json!({
        "requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"},
    });

    let (class, slots) = admitted(scene, own(json!({"requests": both}))).await?;
    assert_eq!((class.as_str(), &slots), ("Burstable", &little));

    let (class, slots) = admitted(scene, own(json!({"requests": both, "limits": both}))).await?;
    assert_eq!(class, "Guaranteed");
    assert_eq!(slots["requests"], slots["limits"]);
    assert_eq!(slots["limits"], json!({"cpu": "100m", "memory": "128Mi"}));

    // A pod that asks for nothing is evicted first; with slots that ask for little it is not.
    let (class, slots) = admitted(scene, |_| {}).await?;
    assert_eq!((class.as_str(), &slots), ("Burstable", &little));

    let (class, slots) = admitted(scene, |pod| {
        pod["spec"]["resources"] = json!({"requests": both, "limits": both});
    })
    .await?;
    assert_eq!(class, "Guaranteed");
    assert!(slots == json!({}) || slots.is_null(), "{slots}");
    Ok(())
}

/// A rule of the scene's namespace.
fn rule(scene: Scene<'_>, kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": kind, "spec": spec,
        "metadata": {"name": "rule", "namespace": scene.namespace},
    })
}

fn limited() -> impl FnOnce(&mut Value) {
    own(json!({
        "requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "64Mi"},
    }))
}

async fn slots_have_the_limits_that_a_quota_asks_for(scene: Scene<'_>) -> anyhow::Result<()> {
    let hard = json!({"limits.cpu": "4", "limits.memory": "2Gi", "requests.cpu": "2"});
    let quota = rule(scene, "ResourceQuota", json!({"hard": hard}));
    scene.adopt_by_label(&[quota]).await?;
    let (_, slots) = admitted(scene, limited()).await?;
    assert_eq!(slots["limits"], json!({"cpu": "500m", "memory": "128Mi"}));
    Ok(())
}

async fn slots_keep_within_a_limit_range_and_take_nothing_from_its_defaults(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let range = json!({"limits": [{
        "type": "Container",
        "default": {"memory": "20Mi"},
        "min": {"memory": "16Mi"},
        "max": {"cpu": "1", "memory": "96Mi"},
        "maxLimitRequestRatio": {"cpu": "20"},
    }]});
    let range = rule(scene, "LimitRange", range);
    scene.adopt_by_label(&[range]).await?;
    let (_, slots) = admitted(scene, limited()).await?;
    assert_eq!(slots["limits"], json!({"cpu": "500m", "memory": "96Mi"}));
    assert_eq!(slots["requests"], json!({"cpu": "25m", "memory": "32Mi"}));
    Ok(())
}
