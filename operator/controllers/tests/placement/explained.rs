//! What the status says of pods.

use serde_json::{Value, json};

use crate::cluster::{Cluster, owner};

#[tokio::test]
async fn a_pod_that_did_not_wait_is_explained_too() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_application(Value::Null, Value::Null);
    cluster.put_pod("risk-d", false, |pod| {
        pod["metadata"]["ownerReferences"] =
            json!([owner("apps/v1", "DaemonSet", "risk", "uid-d")]);
        pod["spec"]["nodeName"] = "n1".into();
    });
    let _leader = cluster.lead();
    let status = cluster
        .status(|status| status["placement"]["local"] == "100 %")
        .await;
    let reason = status["placement"]["pods"][0]["reason"].as_str().unwrap();
    assert!(
        reason.starts_with(
            "n1 holds 100.0 MiB of its 100.0 MiB (100 %); the scheduler chose it alone"
        ),
        "{reason}"
    );
}

#[tokio::test]
async fn a_pod_that_did_not_wait_because_of_its_claim_names_it() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_application(Value::Null, Value::Null);
    cluster.put_pod("risk-0", false, |pod| {
        pod["spec"]["volumes"] =
            json!([{"name": "data", "persistentVolumeClaim": {"claimName": "m1"}}]);
        pod["spec"]["nodeName"] = "n1".into();
    });
    let _leader = cluster.lead();
    let status = cluster
        .status(|status| status["placement"]["local"] == "100 %")
        .await;
    assert_eq!(
        status["placement"]["pods"][0]["reason"],
        "its claim m1 is on n1, so it can run there only: n1 holds 100.0 MiB of its 100.0 MiB (100 %)"
    );
}

#[tokio::test]
async fn another_choice_of_the_scheduler_is_told() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_claim("m2", 50, "n2");
    cluster.put_market(&["m1", "m2"]);
    cluster.put_application(Value::Null, Value::Null);
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    let pod = cluster
        .pod("risk-0", |pod| !crate::cluster::is_gated(pod))
        .await;
    assert_eq!(crate::cluster::explanation(&pod)["node"], "n1");
    cluster.edit(&format!("{}risk-0", crate::cluster::PODS), |pod| {
        pod["spec"]["nodeName"] = "n2".into();
    });
    let status = cluster
        .status(|status| status["placement"]["pods"][0]["node"] == "n2")
        .await;
    let pod = &status["placement"]["pods"][0];
    assert_eq!(pod["localBytes"], 50 << 20);
    assert_eq!(pod["runnerUp"], "n1");
    let reason = pod["reason"].as_str().unwrap();
    assert!(
        reason.contains("the scheduler chose it, though n1 was asked for"),
        "{reason}"
    );
}

#[tokio::test]
async fn a_dataset_that_does_not_exist_is_told_and_keeps_no_pod() {
    let cluster = Cluster::new();
    cluster.put_application(Value::Null, Value::Null);
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    assert_eq!(
        cluster.says("DatasetNotFound").await,
        "IntegratedApp risk data[0].dataset is \"market\"; no Dataset of that name exists in namespace store; pods run all the same, without regard to it"
    );
    cluster.put_claim("m1", 100, "n1");
    cluster.put_gated("risk-0", |_| {});
    cluster.bound("risk-0").await;
    cluster.put_market(&["m1"]);
    cluster.says("Succeeded").await;
}
