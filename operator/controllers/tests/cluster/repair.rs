//! Pods that cannot follow the spec in place are created anew through eviction.

use outrigger_api_server::ApiServer;
use serde_json::{Value, json};

use crate::evicting::{
    REPLICA_SET, evicting, of_replica_set, owner, put_bare, put_right, until_gone,
};
use crate::leader::{
    Leader, application_path, pod, pod_path, put_injected, shop, sidecar, sidecar_path,
};
use crate::webhook::{injected, with_webhook};

const BUDGET: &str = "/apis/policy/v1/namespaces/store/poddisruptionbudgets/guard";

fn evictions(api: &ApiServer) -> Vec<String> {
    let mut writes = api.writes();
    writes.retain(|line| line.ends_with("/eviction"));
    writes
}

#[tokio::test(start_paused = true)]
async fn pods_without_sidecars_are_replaced_one_after_another() {
    let api = evicting(2);
    with_webhook(&api);
    put_bare(&api, "a");
    put_bare(&api, "b");
    let leader = Leader::start(&api);
    until_gone(&api, "a").await;
    leader.says("shop", "Recreating").await;
    // The successor is not Ready yet.
    let mut starting = of_replica_set(&api, injected(&api, pod()));
    starting["status"]["conditions"][0]["status"] = "False".into();
    api.put(&pod_path("c"), starting);
    let told =
        "1 pod is to be created anew: pod c is not Ready, and 1 pod may be unavailable at a time";
    let waits = |found: Option<&Value>| {
        found.is_some_and(|found| found["status"]["conditions"][0]["message"] == told)
    };
    api.until(&application_path("shop"), waits).await;
    assert_eq!(evictions(&api).len(), 1);
    put_right(&api, "c");
    until_gone(&api, "b").await;
    put_right(&api, "d");
    leader.says("shop", "Succeeded").await;
    leader.counts("shop", [2, 2, 0]).await;
    assert_eq!(evictions(&api).len(), 2);
    let events = api.under("/apis/events.k8s.io/v1/namespaces/store/events/");
    let evicted = events
        .iter()
        .filter(|event| event["reason"] == "Recreating");
    let notes: Vec<_> = evicted.map(|event| &event["note"]).collect();
    let note = |pod: &str| json!(format!("Pod {pod} was evicted: it has no sidecars"));
    assert_eq!(notes.len(), 4, "of the application and of the pod each");
    assert!(notes.contains(&&note("a")) && notes.contains(&&note("b")));
}

#[tokio::test(start_paused = true)]
async fn as_many_go_at_once_as_the_sidecar_allows() {
    let api = evicting(2);
    with_webhook(&api);
    let mut orders = sidecar();
    orders["spec"]["update"] = json!({"maxUnavailable": "100%"});
    api.put(&sidecar_path("orders"), orders);
    put_bare(&api, "a");
    put_bare(&api, "b");
    let _leader = Leader::start(&api);
    until_gone(&api, "b").await;
    until_gone(&api, "a").await;
    assert_eq!(evictions(&api).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn pods_with_fields_that_cannot_change_in_place_are_replaced() {
    let api = evicting(2);
    with_webhook(&api);
    put_right(&api, "a");
    put_right(&api, "b");
    let mut orders = sidecar();
    orders["spec"]["resources"] = json!({"limits": {"memory": "256Mi"}});
    api.put(&sidecar_path("orders"), orders);
    let leader = Leader::start(&api);
    until_gone(&api, "a").await;
    put_right(&api, "c");
    until_gone(&api, "b").await;
    put_right(&api, "d");
    leader.says("shop", "Succeeded").await;
}

#[tokio::test(start_paused = true)]
async fn no_pod_goes_while_its_successor_would_be_no_better() {
    let api = evicting(1);
    put_bare(&api, "a");
    let leader = Leader::start(&api);
    assert_eq!(
        leader.says("shop", "Recreating").await,
        "1 pod is to be created anew: a pod like the successor of a, which was only tried, came back without its sidecars: the admission webhook is away, or does not know it"
    );
    assert!(evictions(&api).is_empty());
    let tried = api.under(&pod_path("web-"));
    assert!(
        tried.is_empty(),
        "the trial leaves nothing behind: {tried:?}"
    );
    with_webhook(&api);
    until_gone(&api, "a").await;
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_refuses_the_successor_is_quoted() {
    let api = evicting(1);
    with_webhook(&api);
    put_bare(&api, "a");
    api.forbid("\"generateName\":\"web-\"");
    let leader = Leader::start(&api);
    assert_eq!(
        leader.says("shop", "Recreating").await,
        "1 pod is to be created anew: a pod like the successor of a, which was only tried, was refused: Forbidden"
    );
    assert!(evictions(&api).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_successor_without_sidecars_stops_it_until_the_spec_changes() {
    let api = evicting(2);
    with_webhook(&api);
    put_bare(&api, "a");
    put_bare(&api, "b");
    let leader = Leader::start(&api);
    until_gone(&api, "a").await;
    put_bare(&api, "c");
    let message = leader.says("shop", "PodsNotInjected").await;
    assert!(
        message.starts_with(
            "pod c came after an eviction and is no better, so no other pod is evicted until the spec changes: 2 pods (b, c) are without the sidecars"
        ),
        "{message}"
    );
    assert_eq!(evictions(&api).len(), 1);
    let mut shop = api.get(&application_path("shop")).unwrap();
    shop["spec"]["sidecars"][0]["parameters"] =
        json!([{"function": "once", "idempotency": {"keyFields": ["/other"]}}]);
    api.put(&application_path("shop"), shop);
    until_gone(&api, "b").await;
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_forbids_it_is_waited_for() {
    let api = evicting(1);
    with_webhook(&api);
    put_bare(&api, "a");
    let budget = |allowed: i32| {
        json!({
            "spec": {"selector": {"matchLabels": {"app": "shop"}}},
            "status": {"disruptionsAllowed": allowed, "desiredHealthy": 1, "currentHealthy": 1},
        })
    };
    api.put(BUDGET, budget(0));
    let leader = Leader::start(&api);
    assert_eq!(
        leader.says("shop", "Recreating").await,
        "1 pod is to be created anew: pod a: The disruption budget guard needs 1 healthy pods and has 1 currently"
    );
    assert!(api.get(&pod_path("a")).is_some());
    api.put(BUDGET, budget(1));
    until_gone(&api, "a").await;
}

#[tokio::test(start_paused = true)]
async fn pods_that_nobody_creates_anew_stay() {
    for (owners, why) in [
        (
            Value::Null,
            "it has no controller that would create another",
        ),
        (
            owner("batch/v1", "Job", json!("u")),
            "Job web would count it as failed",
        ),
        (
            owner("apps/v1", "DaemonSet", json!("u")),
            "DaemonSet web may not get another one onto its node",
        ),
        (
            owner("apps/v1", "ReplicaSet", json!("of another")),
            "ReplicaSet web is gone",
        ),
        (
            owner("example.com/v1", "Ring", json!("u")),
            "it is of Ring web, and only pods of ReplicaSets and StatefulSets are",
        ),
    ] {
        let api = evicting(1);
        with_webhook(&api);
        let mut bare = pod();
        bare["metadata"]["ownerReferences"] = owners;
        api.put(&pod_path("a"), bare);
        let leader = Leader::start(&api);
        let message = leader.says("shop", "PodsNotInjected").await;
        let kept = format!("; not evicted: pod a, since {why}");
        assert!(message.ends_with(&kept), "{message}");
        assert!(evictions(&api).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn no_pod_is_evicted_unless_the_application_says_so() {
    let api = shop();
    with_webhook(&api);
    api.put(REPLICA_SET, json!({"spec": {"replicas": 1}}));
    put_bare(&api, "b");
    let leader = Leader::start(&api);
    leader.says("shop", "PodsNotInjected").await;
    let mut orders = sidecar();
    orders["spec"]["resources"] = json!({"limits": {"memory": "256Mi"}});
    api.put(&sidecar_path("orders"), orders);
    api.delete(&pod_path("b"));
    put_injected(&api, "c");
    leader.says("shop", "RequiresRecreate").await;
    assert!(evictions(&api).is_empty());
}
