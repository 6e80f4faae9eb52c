//! The operator may be killed between any two calls.

use serde_json::{Value, json};

use crate::cluster::{Cluster, Leader, PODS, is_gated, patiently};

/// 100 MiB on `n1`, 50 MiB on `n2`, both with one place, and two pods that need them.
fn scene() -> Cluster {
    let cluster = Cluster::new();
    for node in ["n1", "n2"] {
        cluster.put_node(node, |node| {
            node["status"]["allocatable"]["pods"] = "1".into()
        });
    }
    cluster.put_claim("m1", 100, "n1");
    cluster.put_claim("m2", 50, "n2");
    cluster.put_market(&["m1", "m2"]);
    cluster.put_application(Value::Null, json!({"mode": "Required"}));
    for number in 0..2 {
        cluster.put_gated(&format!("risk-{number}"), |pod| {
            pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
        });
    }
    cluster
}

#[tokio::test]
async fn the_end_is_the_same_whenever_the_operator_is_killed() {
    let calm = scene();
    let _scheduler = calm.schedule();
    let _leader = calm.lead();
    for number in 0..2 {
        calm.bound(&format!("risk-{number}")).await;
    }
    let expected = calm.places();
    assert_eq!(expected["risk-0"], "n1");
    assert_eq!(expected["risk-1"], "n2");
    for writes in 0.. {
        let cluster = scene();
        let _scheduler = cluster.schedule();
        let (client, mut died) = cluster.api.mortal_client(writes);
        let first = Leader::start(client);
        let placed = |pods: &[Value]| pods.iter().all(|pod| pod["spec"]["nodeName"].is_string());
        let killed = tokio::select! {
            found = died.wait_for(|died| *died) => found.is_ok(),
            () = patiently("pods", cluster.api.until_all(PODS, placed)) => false,
        };
        first.kill();
        let _second = cluster.lead();
        for number in 0..2 {
            cluster.bound(&format!("risk-{number}")).await;
        }
        assert_eq!(cluster.places(), expected, "killed after {writes} writes");
        let releases = cluster.api.writes();
        let releases = releases
            .iter()
            .filter(|line| line.starts_with(&format!("PATCH {PODS}")));
        assert_eq!(releases.count(), 2, "killed after {writes} writes");
        if !killed {
            assert!(writes > 3, "killed after {writes} writes at most");
            return;
        }
    }
}

#[tokio::test]
async fn a_replacement_is_planned_elsewhere_whenever_the_operator_is_killed() {
    for writes in 0.. {
        let cluster = scene();
        cluster.put_application(
            Value::Null,
            json!({"mode": "Required", "bindTimeoutSeconds": 0}),
        );
        cluster.api.delete(&format!("{PODS}risk-1"));
        cluster.put_deployment(1);
        let replica_set = cluster.replica_set();
        let by_replica_set = |pod: &mut Value| {
            pod["metadata"]["ownerReferences"] = json!([replica_set]);
            pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
        };
        cluster.api.delete(&format!("{PODS}risk-0"));
        cluster.put_gated("risk-0", by_replica_set);
        let (client, mut died) = cluster.api.mortal_client(writes);
        let first = Leader::start(client);
        let killed = async {
            let _ = died.wait_for(|died| *died).await;
        };
        let mut killed = std::pin::pin!(killed);
        let mut was_killed = false;
        let mut leader = Some(first);
        // The pod is let go, its node is filled, and the scheduler says so.
        let mut stages = std::pin::pin!(async {
            cluster.pod("risk-0", |pod| !is_gated(pod)).await;
            cluster.api.put(
                &format!("{PODS}other"),
                json!({
                    "apiVersion": "v1", "kind": "Pod",
                    "spec": {"containers": [{"name": "c"}], "nodeName": "n1"},
                    "status": {"phase": "Running"},
                }),
            );
            let _scheduler = cluster.schedule();
            let gone = |found: Option<&Value>| found.is_none();
            let path = format!("{PODS}risk-0");
            patiently("deletion", cluster.api.until(&path, gone)).await;
            cluster.put_gated("risk-1", by_replica_set);
            assert_eq!(
                cluster.bound("risk-1").await,
                "n2",
                "killed after {writes} writes"
            );
        });
        loop {
            tokio::select! {
                () = &mut stages => break,
                () = &mut killed, if !was_killed => {
                    was_killed = true;
                    if let Some(first) = leader.take() {
                        first.kill();
                    }
                    leader = Some(cluster.lead());
                }
            }
        }
        let deletions = cluster.api.writes();
        let deletions = deletions.iter().filter(|line| line.starts_with("DELETE"));
        assert_eq!(deletions.count(), 1, "killed after {writes} writes");
        if !was_killed {
            assert!(writes > 5, "killed after {writes} writes at most");
            return;
        }
    }
}
