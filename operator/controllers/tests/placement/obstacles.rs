//! What keeps pods from their data.

use serde_json::{Value, json};

use crate::cluster::{
    APPLICATION, Cluster, DropTask, PODS, explanation, is_gated, market_path, patiently,
};

/// 100 MiB on `n1`, 50 MiB on `n2`.
fn two_nodes(locality: Value) -> Cluster {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_claim("m2", 50, "n2");
    cluster.put_market(&["m1", "m2"]);
    cluster.put_application(Value::Null, locality);
    cluster
}

/// A ReplicaSet's controller: creates the next pod when one is gone.
fn replace(cluster: &Cluster, replicas: u32) -> DropTask {
    cluster.put_deployment(replicas);
    let cluster = Cluster {
        api: cluster.api.clone(),
    };
    DropTask(tokio::spawn(async move {
        let mut next = 0;
        loop {
            let few = |pods: &[Value]| {
                let ours = pods
                    .iter()
                    .filter(|pod| pod["metadata"]["labels"]["app"] == "risk");
                ours.count() < replicas as usize
            };
            cluster.api.until_all(PODS, few).await;
            let replica_set = cluster.replica_set();
            cluster.put_gated(&format!("risk-1-{next}"), |pod| {
                pod["metadata"]["ownerReferences"] = json!([replica_set]);
                // Now: bindTimeoutSeconds and relaxAfterSeconds count from here.
                pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
            });
            next += 1;
        }
    }))
}

#[tokio::test]
async fn a_cordoned_node_is_passed_over_and_named() {
    let cluster = two_nodes(Value::Null);
    cluster.put_node("n1", |node| node["spec"] = json!({"unschedulable": true}));
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    assert_eq!(cluster.bound("risk-0").await, "n2");
    let pod = cluster.pod("risk-0", |_| true).await;
    assert_eq!(explanation(&pod)["excluded"], json!({"n1": "cordoned"}));
}

#[tokio::test]
async fn a_pod_waits_for_its_node_and_goes_when_that_can_be_used() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_application(Value::Null, json!({"mode": "Required"}));
    cluster.put_node("n1", |node| node["spec"] = json!({"unschedulable": true}));
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
    });
    let status = cluster
        .status(|status| {
            let message = status["conditions"][0]["message"].as_str();
            message.is_some_and(|message| message.ends_with("n1 ruled out: cordoned"))
        })
        .await;
    let ready = &status["conditions"][0];
    assert_eq!(ready["reason"], "PlacementPending");
    let message = ready["message"].as_str().unwrap();
    let expected = "pod risk-0 waits for a node near its data: waits for a node that holds some of its 100.0 MiB and can run it, until ";
    assert!(message.starts_with(expected), "{message}");
    cluster.put_node("n1", |_| {});
    assert_eq!(cluster.bound("risk-0").await, "n1");
    cluster.says("Succeeded").await;
}

#[tokio::test]
async fn a_pod_waits_no_longer_than_it_may() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    let locality = json!({"mode": "Required", "relaxAfterSeconds": 1});
    cluster.put_application(Value::Null, locality);
    cluster.put_node("n1", |node| node["spec"] = json!({"unschedulable": true}));
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
    });
    assert_ne!(cluster.bound("risk-0").await, "n1");
    let told = [("PodRelaxed".to_owned(), "risk-0".to_owned())];
    patiently("event", async {
        let events = "/apis/events.k8s.io/v1/namespaces/store/events/";
        let relaxed = |events: &[Value]| events.iter().any(|event| event["reason"] == "PodRelaxed");
        cluster.api.until_all(events, relaxed).await;
    })
    .await;
    assert_eq!(cluster.events(), told);
}

#[tokio::test]
async fn a_pod_whose_node_is_filled_before_it_is_bound_goes_to_the_next() {
    let locality = json!({"mode": "Required", "bindTimeoutSeconds": 1});
    let cluster = two_nodes(locality);
    let _controller = replace(&cluster, 1);
    let _leader = cluster.lead();
    cluster.pod("risk-1-0", |pod| !is_gated(pod)).await;
    // The scheduler comes to others first.
    for number in 0..10 {
        cluster.api.put(
            &format!("{PODS}other-{number}"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "spec": {"containers": [{"name": "c"}], "nodeName": "n1"},
                "status": {"phase": "Running"},
            }),
        );
    }
    let _scheduler = cluster.schedule();
    assert_eq!(cluster.bound("risk-1-1").await, "n2");
    let status = cluster
        .status(|status| status["placement"]["pods"][0]["pod"] == "risk-1-1")
        .await;
    let avoided = &status["placement"]["avoided"][0];
    assert_eq!(avoided["node"], "n1");
    let reason = avoided["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("pod risk-1-0 was sent to n1 and not bound within 1 s"),
        "{reason}"
    );
    let replaced = ("PodReplaced".to_owned(), "risk-1-0".to_owned());
    assert!(cluster.events().contains(&replaced));
}

#[tokio::test]
async fn data_on_a_node_that_is_not_ready_count_as_nowhere() {
    let cluster = two_nodes(Value::Null);
    cluster.put_node("n1", |node| {
        node["status"]["conditions"][0]["status"] = "Unknown".into();
    });
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    assert_eq!(cluster.bound("risk-0").await, "n2");
}

#[tokio::test]
async fn a_claim_on_a_node_that_is_gone_keeps_no_pod_that_can_do_without() {
    let cluster = two_nodes(Value::Null);
    cluster.api.delete("/api/v1/nodes/n1");
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    assert_eq!(cluster.bound("risk-0").await, "n2");
    // One that mounts the claim can run nowhere, and that is said.
    cluster.put_gated("risk-1", |pod| {
        pod["spec"]["volumes"] =
            json!([{"name": "m", "persistentVolumeClaim": {"claimName": "m1"}}]);
    });
    let message = cluster.says("PlacementConflict").await;
    assert_eq!(
        message,
        "no node can run pod risk-1: PersistentVolume pv-m1 spec.nodeAffinity of the pod's claim m1 asks for kubernetes.io/hostname In [n1], which no node matches"
    );
}

#[tokio::test]
async fn a_dataset_that_is_deleted_lets_its_pods_go() {
    let cluster = Cluster::new();
    cluster.put_claim("m1", 100, "n1");
    cluster.put_market(&["m1"]);
    cluster.put_node("n1", |node| node["spec"] = json!({"unschedulable": true}));
    cluster.put_application(Value::Null, json!({"mode": "Required"}));
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["metadata"]["creationTimestamp"] = jiff::Timestamp::now().to_string().into();
    });
    cluster.says("PlacementPending").await;
    cluster.api.delete(&market_path());
    cluster.bound("risk-0").await;
    cluster.says("DatasetNotFound").await;
}

#[tokio::test]
async fn the_users_own_terms_stay_and_each_gets_the_node() {
    let cluster = two_nodes(json!({"mode": "Required"}));
    let terms = json!([
        {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["n2", "n3"]}]},
        {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]},
    ]);
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["spec"]["affinity"]["nodeAffinity"] = json!({
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
        });
    });
    assert_eq!(cluster.bound("risk-0").await, "n2");
    let pod = cluster.pod("risk-0", |_| true).await;
    let found = &pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        ["nodeSelectorTerms"];
    for (index, term) in terms.as_array().unwrap().iter().enumerate() {
        assert_eq!(found[index]["matchExpressions"], term["matchExpressions"]);
        assert_eq!(found[index]["matchFields"][0]["values"], json!(["n2"]));
    }
}

#[tokio::test]
async fn a_selector_that_excludes_the_pods_volume_is_told_as_a_conflict() {
    let cluster = two_nodes(Value::Null);
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["spec"]["nodeSelector"] = json!({"kubernetes.io/hostname": "n3"});
        pod["spec"]["volumes"] =
            json!([{"name": "m", "persistentVolumeClaim": {"claimName": "m1"}}]);
    });
    assert_eq!(
        cluster.says("PlacementConflict").await,
        "no node can run pod risk-0: the pod's spec.nodeSelector asks for kubernetes.io/hostname=n3 (n3), but PersistentVolume pv-m1 spec.nodeAffinity of the pod's claim m1 asks for kubernetes.io/hostname In [n1] (n1): no node matches both"
    );
    // The scheduler says the same in the pod's events, so it is not kept from it.
    cluster.pod("risk-0", |pod| !is_gated(pod)).await;
}

#[tokio::test]
async fn a_pod_whose_affinity_cannot_be_written_is_let_go_without() {
    let cluster = two_nodes(Value::Null);
    cluster.api.forbid("nodeAffinity");
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    let pod = cluster.pod("risk-0", |pod| !is_gated(pod)).await;
    assert!(pod["spec"]["affinity"].is_null(), "{pod}");
}

#[tokio::test]
async fn a_pod_that_may_not_be_told_why_is_let_go_all_the_same() {
    let cluster = two_nodes(Value::Null);
    cluster.put_gated("risk-0", |_| {});
    cluster.api.delete(APPLICATION);
    cluster.api.forbid("totalBytes");
    let _leader = cluster.lead();
    let pod = cluster.pod("risk-0", |pod| !is_gated(pod)).await;
    let annotation = &pod["metadata"]["annotations"]["outrigger.dev/placement"];
    assert!(annotation.is_null(), "{pod}");
}

#[tokio::test]
async fn a_pod_whose_gate_cannot_be_taken_off_is_told() {
    let cluster = two_nodes(Value::Null);
    cluster.api.forbid("schedulingGates");
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    // A first scan may be waited for before.
    let told = |status: &Value| {
        let waiting = &status["placement"]["waiting"][0];
        let reason = waiting["reason"].as_str().unwrap_or_default();
        waiting["pod"] == "risk-0" && reason.starts_with("its gate cannot be taken off: ")
    };
    let status = cluster.status(told).await;
    assert_eq!(status["conditions"][0]["reason"], "PlacementPending");
}

/// A pod that says that it was sent to `n1` and takes all of its room.
fn claimant(since: jiff::Timestamp) -> Value {
    let explanation = json!({
        "v": 1, "node": "n1", "mode": "Preferred", "localBytes": 1, "totalBytes": 1,
        "reason": "n1 is mine", "since": since,
    });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "labels": {"outrigger.dev/app": "other"},
            "annotations": {"outrigger.dev/placement": explanation.to_string()},
        },
        "spec": {"containers": [
            {"name": "app", "image": "app:1", "resources": {"requests": {"cpu": "8"}}},
        ]},
        "status": {"phase": "Pending"},
    })
}

/// Where a pod that asks for some CPU goes.
async fn chosen(cluster: &Cluster) -> String {
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |pod| {
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    });
    let pod = cluster.pod("risk-0", |pod| !is_gated(pod)).await;
    explanation(&pod)["node"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn room_is_kept_for_pods_that_were_placed_a_while_ago_and_for_no_others() {
    let now = jiff::Timestamp::now();
    let other = APPLICATION.replace("/risk", "/other");
    for (with_application, since, expected) in [
        (true, now, "n2"),
        (true, now - jiff::SignedDuration::from_mins(11), "n1"),
        (true, now + jiff::SignedDuration::from_hours(24), "n1"),
        // Nobody took its annotations off when it was created.
        (false, now, "n1"),
    ] {
        let cluster = two_nodes(Value::Null);
        if with_application {
            let mut application = cluster.api.get(APPLICATION).unwrap();
            application["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
            cluster.api.put(&other, application);
        }
        cluster.api.put(&format!("{PODS}other-0"), claimant(since));
        assert_eq!(
            chosen(&cluster).await,
            expected,
            "{with_application} {since}"
        );
    }
}

#[tokio::test]
async fn two_applications_do_not_count_on_the_same_place() {
    let cluster = two_nodes(json!({"mode": "Required"}));
    for node in ["n1", "n2"] {
        cluster.put_node(node, |node| {
            node["status"]["allocatable"]["pods"] = "1".into();
        });
    }
    let mut second = cluster.api.get(APPLICATION).unwrap();
    second["spec"]["selector"] = json!({"matchLabels": {"app": "other"}});
    cluster
        .api
        .put(&APPLICATION.replace("/risk", "/other"), second);
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    cluster.put_gated("other-0", |_| {});
    cluster.edit(&format!("{PODS}other-0"), |pod| {
        pod["metadata"]["labels"]["outrigger.dev/app"] = "other".into();
    });
    // Nobody binds them, so that the first one takes no room that a node would show.
    let mut nodes = Vec::new();
    for name in ["risk-0", "other-0"] {
        let pod = cluster.pod(name, |pod| !is_gated(pod)).await;
        nodes.push(explanation(&pod)["node"].as_str().unwrap().to_owned());
    }
    nodes.sort();
    assert_eq!(nodes, ["n1", "n2"]);
}

#[tokio::test]
async fn a_new_leader_avoids_the_nodes_that_the_former_one_avoided() {
    let cluster = two_nodes(Value::Null);
    let now = jiff::Timestamp::now().as_second();
    let since = jiff::Timestamp::from_second(now).unwrap().to_string();
    cluster.edit(APPLICATION, |application| {
        application["status"] = json!({"placement": {
            "effective": {}, "localBytes": 0, "totalBytes": 0,
            "avoided": [{"node": "n1", "reason": "a pod was not bound", "since": since}],
        }});
    });
    let _scheduler = cluster.schedule();
    let _leader = cluster.lead();
    cluster.put_gated("risk-0", |_| {});
    assert_eq!(cluster.bound("risk-0").await, "n2");
    let pod = cluster.pod("risk-0", |_| true).await;
    let expected = json!({"n1": "avoided: a pod was not bound"});
    assert_eq!(explanation(&pod)["excluded"], expected);
    let status = cluster
        .status(|status| status["placement"]["pods"][0]["node"] == "n2")
        .await;
    assert_eq!(status["placement"]["avoided"][0]["since"], since.as_str());
}
