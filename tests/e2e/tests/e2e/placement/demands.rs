//! What pods ask of their nodes themselves, and where their data are.

use k8s_openapi::api::core::v1::Pod;
use outrigger_api::conditions::reason;
use outrigger_e2e::cluster;
use serde_json::{Value, json};
use tokio::task::block_in_place;

use super::ground::{APPLICATION, Ground, SELECTOR, assert_says, node};
use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_pods_own_affinity_with_two_terms_stays_in_force),
        test!(a_selector_that_excludes_all_data_is_explained_and_strands_no_pod),
        test!(a_pod_that_no_node_can_run_is_explained_and_not_kept),
        test!(data_that_no_node_holds_keep_no_pod_waiting),
    ]
}

const ZONE: &str = "topology.kubernetes.io/zone";

async fn a_pods_own_affinity_with_two_terms_stays_in_force(scene: Scene<'_>) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(4, &[1]), (1, &[2]), (2, &[4])])?;
    ground.open(json!({"mode": "Required"})).await?;
    let mut deployment = ground.deployment(1);
    // Either will do, and neither is node-1.
    let terms = json!([
        {"matchExpressions": [{"key": ZONE, "operator": "In", "values": ["z2"]}]},
        {"matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["node-1"]},
            {"key": ZONE, "operator": "In", "values": ["z1"]},
        ]},
    ]);
    deployment["spec"]["template"]["spec"]["affinity"] = json!({"nodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
    }});
    ground.apply(&deployment).await?;
    let pod = ground.on_nodes(1).await?.remove(0);
    assert_eq!(node(&pod), Some("node-4"));
    let found = own_terms(&pod);
    for (number, term) in found.iter().enumerate() {
        let own = &terms[number]["matchExpressions"];
        assert_eq!(&term["matchExpressions"], own, "{found:?}");
        assert_eq!(term["matchFields"][0]["values"], json!(["node-4"]));
    }
    assert_eq!(found.len(), 2, "{found:?}");
    let told = ground.told_of(&pod).await?;
    assert_says(
        &told.reason,
        &["node-4 holds", "node-1 ruled out", "affinity"],
    );
    Ok(())
}

fn own_terms(pod: &Pod) -> Vec<Value> {
    let pod = serde_json::to_value(pod).unwrap_or_default();
    let terms = pod.pointer(
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    terms.and_then(Value::as_array).cloned().unwrap_or_default()
}

async fn a_selector_that_excludes_all_data_is_explained_and_strands_no_pod(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[1])])?;
    ground
        .open(json!({"mode": "Required", "relaxAfterSeconds": 5}))
        .await?;
    let mut deployment = ground.deployment(1);
    deployment["spec"]["template"]["spec"]["nodeSelector"] = json!({ZONE: "z2"});
    ground.apply(&deployment).await?;
    let why = [
        "node-1 ruled out",
        "spec.nodeSelector asks for topology.kubernetes.io/zone=z2",
        "z1",
        "until",
    ];
    let told = ground.waits(&why).await?;
    scene.say(format_args!("waits: {told}"));
    let message = scene
        .unready_application(APPLICATION, reason::PLACEMENT_PENDING)
        .await?;
    assert_says(&message, &["node-1"]);
    let pod = ground.on_nodes(1).await?.remove(0);
    assert!(["node-3", "node-4"].map(Some).contains(&node(&pod)));
    let told = ground.told_of(&pod).await?;
    assert_eq!(told.local_bytes, 0);
    assert_says(&told.reason, &["node-1 ruled out", "after 5 s"]);
    Ok(())
}

async fn a_pod_that_no_node_can_run_is_explained_and_not_kept(
    scene: Scene<'_>,
) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    ground.put(&[(3, &[3])])?;
    ground.open(json!({"relaxAfterSeconds": 0})).await?;
    let (volume, _) = ground.bound_claim("node-1", "disk").await?;
    let mut deployment = ground.deployment(1);
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["nodeSelector"] = json!({ZONE: "z2"});
    spec["volumes"] = json!([{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "disk", "mountPath": "/disk"}]);
    ground.apply(&deployment).await?;
    let message = scene
        .unready_application(APPLICATION, reason::PLACEMENT_CONFLICT)
        .await?;
    scene.say(&message);
    assert_says(&message, &["spec.nodeSelector", "z2", "disk", "node-1"]);
    // The scheduler says the same.
    let pods = scene.pods();
    let what = "the scheduler's word";
    cluster::wait_all(&pods, SELECTOR, what, PATIENCE, |pods: &[Pod]| {
        pods.iter().any(is_unschedulable)
    })
    .await?;
    ground.apply(&ground.deployment(0)).await?;
    cluster::wait_all(&pods, SELECTOR, "no pod", PATIENCE, |pods: &[Pod]| {
        pods.is_empty()
    })
    .await?;
    let site = &scene.stage.site;
    site.kubectl(&format!("-n {} delete pvc disk", scene.namespace))
        .await?;
    block_in_place(|| site.lab.remove_local_volume(&volume.name))?;
    Ok(())
}

/// Whether the scheduler has looked at a pod and found no node.
pub(super) fn is_unschedulable(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .iter()
        .flat_map(|it| it.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|found| found.reason.as_deref() == Some("Unschedulable"))
}

async fn data_that_no_node_holds_keep_no_pod_waiting(scene: Scene<'_>) -> anyhow::Result<()> {
    let ground = Ground::new(scene).await?;
    let path = format!("{}/coded", ground.directory());
    let content = vec![1; 3 << 20];
    ground.hdfs(|hdfs| hdfs.delete(&ground.directory()))?;
    ground.hdfs(|hdfs| hdfs.put_erasure_coded(&path, "XOR-2-1-1024k", &content))?;
    ground.open(json!({"mode": "Required"})).await?;
    let status = ground.located(|_| true).await?;
    assert_eq!(status.bytes, Some(3 << 20));
    assert_eq!(status.bytes_on_no_node, Some(3 << 20));
    assert_eq!(status.node_count, Some(0));
    ground.apply(&ground.deployment(1)).await?;
    ground.on_nodes(1).await?;
    let told = ground.told("a pod", |told| !told.pods.is_empty()).await?;
    assert_eq!((told.local_bytes, told.total_bytes), (0, 3 << 20));
    assert_says(&told.pods[0].reason, &["the scheduler chose it alone"]);
    Ok(())
}
