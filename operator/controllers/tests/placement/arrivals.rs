//! Workloads create their pods one at a time.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cluster::{APPLICATION, Cluster, PODS, is_gated, owner};

fn counts(places: &BTreeMap<String, String>) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for node in places.values() {
        *counts.entry(node.as_str()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn replicas_share_the_nodes_that_hold_their_data() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_claim("m2", 100, "n2");
    cluster.put_market(&["m1", "m2"]);
    cluster.put_application(Value::Null, Value::Null);
    cluster.put_deployment(4);
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    for number in 0..4 {
        let replica_set = cluster.replica_set();
        let name = format!("risk-1-{number}");
        cluster.put_gated(&name, |pod| {
            pod["metadata"]["ownerReferences"] = json!([replica_set]);
        });
        cluster.bound(&name).await;
    }
    assert_eq!(
        counts(&cluster.places()),
        BTreeMap::from([("n1", 2), ("n2", 2)])
    );
    let status = cluster
        .status(|status| {
            status["placement"]["pods"]
                .as_array()
                .is_some_and(|pods| pods.len() == 4)
        })
        .await;
    let mib = 1 << 20;
    let placement = &status["placement"];
    assert_eq!(placement["local"], "50 %");
    assert_eq!(placement["localBytes"], 400 * mib);
    assert_eq!(placement["totalBytes"], 800 * mib);
    assert_eq!(placement["effective"]["mode"], "Preferred");
    let first = &placement["pods"][0];
    assert_eq!(first["pod"], "risk-1-0");
    assert_eq!(first["localBytes"], 100 * mib);
    let reason = first["reason"].as_str().unwrap();
    let expected = format!(
        "{} holds 100.0 MiB of its 200.0 MiB (50 %)",
        first["node"].as_str().unwrap()
    );
    assert!(reason.starts_with(&expected), "{reason}");
    let mut told = cluster.events();
    told.sort();
    let expected: Vec<_> = (0..4)
        .map(|number| ("PodPlaced".to_owned(), format!("risk-1-{number}")))
        .collect();
    assert_eq!(told, expected);
    assert_eq!(
        cluster.says("Succeeded").await,
        "4 pods; 50 % of the pods' data is on their own nodes"
    );
}

#[tokio::test]
async fn pods_of_a_job_come_to_their_parts_whatever_the_order() {
    let cluster = Cluster::new();
    for number in 1..=4 {
        cluster.put_claim(&format!("m{number}"), 100, &format!("n{number}"));
    }
    cluster.put_market(&["m1", "m2", "m3", "m4"]);
    cluster.put_application(json!("ByIndex"), json!({"mode": "Required"}));
    let path = "/apis/batch/v1/namespaces/store/jobs/risk";
    cluster.api.put(
        path,
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "spec": {"completions": 4, "parallelism": 4, "template": {}},
        }),
    );
    let uid = cluster.api.get(path).unwrap()["metadata"]["uid"].clone();
    let uid = uid.as_str().unwrap();
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    for index in [2, 0, 3, 1] {
        cluster.put_gated(&format!("risk-{index}"), |pod| {
            let metadata = &mut pod["metadata"];
            metadata["ownerReferences"] = json!([owner("batch/v1", "Job", "risk", uid)]);
            metadata["annotations"] =
                json!({"batch.kubernetes.io/job-completion-index": index.to_string()});
        });
    }
    for index in 0..4 {
        let node = cluster.bound(&format!("risk-{index}")).await;
        assert_eq!(node, format!("n{}", index + 1));
    }
    let local = |status: &Value| {
        status["placement"]["pods"]
            .as_array()
            .is_some_and(|pods| pods.len() == 4)
    };
    assert_eq!(cluster.status(local).await["placement"]["local"], "100 %");
}

#[tokio::test]
async fn pods_of_a_stateful_set_come_to_the_claims_that_they_mount() {
    let cluster = Cluster::new();
    cluster.put_claim("data-risk-0", 10, "n3");
    cluster.put_claim("data-risk-1", 10, "n2");
    cluster.put_market(&["data-risk-0", "data-risk-1"]);
    cluster.put_application(json!("ByIndex"), Value::Null);
    let path = "/apis/apps/v1/namespaces/store/statefulsets/risk";
    cluster.api.put(
        path,
        json!({
            "apiVersion": "apps/v1", "kind": "StatefulSet",
            "spec": {"replicas": 2, "selector": {}, "template": {}, "serviceName": "risk"},
        }),
    );
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    for (index, expected) in [(0, "n3"), (1, "n2")] {
        let name = format!("risk-{index}");
        cluster.put_gated(&name, |pod| {
            pod["metadata"]["ownerReferences"] =
                json!([owner("apps/v1", "StatefulSet", "risk", "uid-s")]);
            pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] = index.to_string().into();
            pod["spec"]["volumes"] = json!([{
                "name": "data", "persistentVolumeClaim": {"claimName": format!("data-risk-{index}")},
            }]);
        });
        assert_eq!(cluster.bound(&name).await, expected);
    }
}

#[tokio::test]
async fn pods_whose_application_goes_are_let_go() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_node("n1", |node| node["spec"] = json!({"unschedulable": true}));
    cluster.put_application(Value::Null, json!({"mode": "Required"}));
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        // Now: an old one need not be near its data any more.
        pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
    });
    cluster
        .status(|status| status["placement"]["waiting"][0]["pod"] == "risk-0")
        .await;
    cluster.api.delete(APPLICATION);
    let pod = cluster.pod("risk-0", |pod| !is_gated(pod)).await;
    assert!(pod["spec"]["affinity"].is_null(), "{pod}");
}

#[tokio::test]
async fn nothing_is_written_at_rest() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_application(Value::Null, Value::Null);
    let _scheduler = cluster.schedule();
    let first = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    cluster.bound("risk-0").await;
    cluster.says("Succeeded").await;
    cluster
        .status(|status| status["placement"]["local"] == "100 %")
        .await;
    first.kill();
    let before = cluster.api.writes().len();
    // A new leader finds everything as it should be; what it answers to comes after that.
    let _second = cluster.lead();
    cluster.put_gated("risk-1", |_| {});
    cluster.bound("risk-1").await;
    cluster
        .status(|status| {
            status["placement"]["pods"]
                .as_array()
                .is_some_and(|pods| pods.len() == 2)
        })
        .await;
    let mut writes = cluster.api.writes().split_off(before);
    writes.retain(|line| !line.contains("/events"));
    let release = format!("PATCH {PODS}risk-1");
    let status = format!("PATCH {APPLICATION}/status");
    assert_eq!(writes.iter().filter(|line| **line == release).count(), 1);
    // The pod was created, and was bound.
    writes.retain(|line| *line != release);
    assert!(writes.iter().all(|line| *line == status), "{writes:?}");
    assert!(writes.len() <= 3, "{writes:?}");
}
