//! Datasets and IntegratedApps that cannot work are refused in words that name the field, what was
//! found or is missing, and what is allowed.

use serde_json::{Value, json};

use crate::scene::{Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_dataset_that_cannot_work_is_refused),
        test!(a_daemon_set_with_data_is_refused),
    ]
}

async fn namespace(scene: Scene<'_>) -> anyhow::Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": scene.namespace},
    });
    scene.cluster().apply_one(&namespace).await.map(drop)
}

fn object(scene: Scene<'_>, kind: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1", "kind": kind, "spec": spec,
        "metadata": {"name": "tried", "namespace": scene.namespace},
    })
}

async fn a_dataset_that_cannot_work_is_refused(scene: Scene<'_>) -> anyhow::Result<()> {
    namespace(scene).await?;
    let name_nodes = json!(["http://namenode.hdfs.svc:9870"]);
    let hdfs = |field: &str, value: Value| {
        let mut hdfs = json!({"nameNodes": name_nodes, "paths": ["/market"]});
        hdfs[field] = value;
        json!({"hdfs": hdfs})
    };
    let claims = |source: Value| json!({"persistentVolumeClaims": source});
    let both = json!({
        "hdfs": {"nameNodes": name_nodes, "paths": ["/market"]},
        "persistentVolumeClaims": {"names": ["positions"]},
    });
    let sources = "exactly one of persistentVolumeClaims and hdfs must be set";
    let names = "exactly one of persistentVolumeClaims.names and persistentVolumeClaims.selector";
    let label = "nodeNames.label must be set if nodeNames.from is Label, and only then";
    let cases: [(Value, &[&str]); 17] = [
        (json!({}), &[sources]),
        (both, &[sources]),
        (claims(json!({})), &[names]),
        (
            claims(json!({"names": ["a"], "selector": {"matchLabels": {"app": "a"}}})),
            &[names],
        ),
        (
            claims(json!({"selector": {}})),
            &["must name at least one label"],
        ),
        (
            claims(json!({"names": []})),
            &["persistentVolumeClaims.names"],
        ),
        (
            hdfs("nameNodes", json!(["http://namenode:9870/webhdfs/v1"])),
            &[
                "spec.hdfs.nameNodes[0]",
                "http://namenode:9870/webhdfs/v1",
                "https?://",
            ],
        ),
        (
            hdfs("nameNodes", json!(["hdfs://namenode:8020"])),
            &["spec.hdfs.nameNodes[0]", "hdfs://namenode:8020"],
        ),
        (
            hdfs("nameNodes", json!(["http://user@namenode:9870"])),
            &["spec.hdfs.nameNodes[0]"],
        ),
        (hdfs("nameNodes", json!([])), &["spec.hdfs.nameNodes"]),
        (
            hdfs("paths", json!(["market"])),
            &["spec.hdfs.paths[0]", "market", "^/"],
        ),
        (hdfs("paths", json!([])), &["spec.hdfs.paths"]),
        (hdfs("nodeNames", json!({"from": "Label"})), &[label]),
        (
            hdfs("nodeNames", json!({"from": "Pod", "label": "host"})),
            &[label],
        ),
        (
            hdfs("nodeNames", json!({"from": "Guess"})),
            &["Guess", "Hostname", "Pod", "Label"],
        ),
        (hdfs("user", json!("a b")), &["spec.hdfs.user", "a b"]),
        (hdfs("maxFiles", json!(0)), &["spec.hdfs.maxFiles"]),
    ];
    for (spec, expected) in cases {
        let refusal = scene
            .refusal(&object(scene, "Dataset", spec.clone()))
            .await?;
        for words in expected.iter().chain(&["tried"]) {
            assert!(
                refusal.contains(words),
                "{spec}: {words:?} is not in: {refusal}"
            );
        }
    }
    let mut often = hdfs("user", json!("hdfs"));
    often["refresh"] = json!({"intervalSeconds": 1});
    let refusal = scene.refusal(&object(scene, "Dataset", often)).await?;
    assert!(
        refusal.contains("spec.refresh.intervalSeconds"),
        "{refusal}"
    );
    Ok(())
}

async fn a_daemon_set_with_data_is_refused(scene: Scene<'_>) -> anyhow::Result<()> {
    namespace(scene).await?;
    let reader = |kind: &str| json!({"apiVersion": "apps/v1", "kind": kind, "name": "reader"});
    let spec = json!({"workloadRef": reader("DaemonSet"), "data": [{"dataset": "data"}]});
    let refusal = scene.refusal(&object(scene, "IntegratedApp", spec)).await?;
    let expected = "data must not be set if workloadRef.kind is DaemonSet: \
                    it has a pod on each node already";
    assert!(refusal.contains(expected), "{refusal}");
    // And wishes about data that are not named.
    let spec = json!({"workloadRef": reader("Deployment"), "locality": {"mode": "Required"}});
    let refusal = scene.refusal(&object(scene, "IntegratedApp", spec)).await?;
    assert!(refusal.contains("locality needs data"), "{refusal}");
    let spec = json!({
        "workloadRef": reader("Deployment"), "data": [{"dataset": "data", "split": "ByHand"}],
    });
    let refusal = scene.refusal(&object(scene, "IntegratedApp", spec)).await?;
    assert!(
        refusal.contains("ByHand") && refusal.contains("ByIndex"),
        "{refusal}"
    );
    Ok(())
}
