use http::Method;
use outrigger_release::{HOLDER, ReleaseError, Step};
use serde_json::json;

use crate::cluster::{CONFIGURATION, Cluster, GATE, LEASE, ROLE, path, pod};

#[test]
fn the_names_are_those_that_the_operator_uses() {
    assert_eq!(outrigger_release::LEASE_NAME, outrigger_runtime::LEASE_NAME);
    assert_eq!(
        outrigger_release::CONFIGURATION_NAME,
        outrigger_webhook::CONFIGURATION_NAME
    );
}

#[tokio::test(start_paused = true)]
async fn every_pod_is_let_go_and_gates_of_others_stay() {
    let cluster = Cluster::new();
    for namespace in ["shop", "bank", "default", "not-covered"] {
        for index in 0..30 {
            cluster.pod(namespace, &format!("only-{index}"), &[GATE]);
        }
        cluster.pod(namespace, "first", &[GATE, "quota"]);
        cluster.pod(namespace, "last", &["volume", "quota", GATE]);
        cluster.pod(namespace, "other", &["quota"]);
        cluster.pod(namespace, "none", &[]);
    }
    let (steps, released) = cluster.release().await;
    assert_eq!(released.unwrap().pods.len(), 4 * 32);
    for namespace in ["shop", "bank", "default", "not-covered"] {
        for index in 0..30 {
            let gates = cluster.gates(namespace, &format!("only-{index}"));
            assert!(gates.is_empty(), "{gates:?}");
        }
        assert_eq!(cluster.gates(namespace, "first"), ["quota"]);
        assert_eq!(cluster.gates(namespace, "last"), ["volume", "quota"]);
        assert_eq!(cluster.gates(namespace, "other"), ["quota"]);
    }
    let patched = |(method, path): &&(Method, String)| {
        method == Method::PATCH && (path.ends_with("/other") || path.ends_with("/none"))
    };
    assert_eq!(cluster.requests().iter().filter(patched).count(), 0);
    let said: Vec<String> = steps.iter().map(Step::to_string).collect();
    assert_eq!(
        said,
        [
            "Lease outrigger-system/outrigger-operator taken from outrigger-0_1: no replica of the operator leads for 10 minutes",
            "waiting for 15 s, by when the leader has stopped",
            "MutatingWebhookConfiguration outrigger-injector deleted: new pods get no sidecars and no gates",
            "waiting until dry-run pods show that every API server knows",
            "128 pods released in 4 namespaces; no other waits behind the gate",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_held_and_goes_with_the_operators_role() {
    let cluster = Cluster::new();
    cluster.release().await.1.unwrap();
    let lease = cluster.api.get(LEASE).unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], HOLDER);
    assert_eq!(lease["spec"]["leaseDurationSeconds"], 600);
    assert_eq!(lease["spec"]["leaseTransitions"], 5);
    assert_eq!(
        lease["metadata"]["ownerReferences"],
        json!([{
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": "outrigger",
            "uid": cluster.api.get(ROLE).unwrap()["metadata"]["uid"],
        }])
    );
    assert_eq!(cluster.api.get(CONFIGURATION), None);
}

#[tokio::test(start_paused = true)]
async fn pods_that_change_or_go_meanwhile_hold_nothing_up() {
    let cluster = Cluster::new();
    for name in ["changed", "gone", "created-anew", "plain"] {
        cluster.pod("shop", name, &[GATE]);
    }
    let mut done = Vec::new();
    cluster.interfere(move |api, method, at| {
        if method != Method::PATCH || done.contains(&at.to_owned()) {
            return;
        }
        done.push(at.to_owned());
        match at.rsplit('/').next() {
            Some("changed") => api.put(at, pod(&["quota", GATE])),
            Some("gone") => {
                api.delete(at);
                // Pods go on being created until every API server knows.
                api.put(&path("shop", "late"), pod(&[GATE]));
            }
            Some("created-anew") => {
                api.delete(at);
                api.put(at, pod(&[GATE]));
            }
            _ => {}
        }
    });
    let released = cluster.release().await.1.unwrap();
    let names: Vec<_> = released.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["changed", "created-anew", "late", "plain"]);
    assert_eq!(cluster.gates("shop", "changed"), ["quota"]);
    assert!(cluster.gates("shop", "created-anew").is_empty());
    assert!(cluster.gates("shop", "late").is_empty());
    assert_eq!(cluster.api.get(&path("shop", "gone")), None);
}

#[tokio::test(start_paused = true)]
async fn failures_that_pass_are_outlasted() {
    let cluster = Cluster::new();
    for index in 0..10 {
        cluster.pod("shop", &format!("pod-{index}"), &[GATE]);
    }
    cluster.api.fail(4);
    let mut failed = false;
    cluster.interfere(move |api, method, _| {
        if method == Method::PATCH && !failed {
            failed = true;
            api.fail(8);
        }
    });
    assert_eq!(cluster.release().await.1.unwrap().pods.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_cannot_be_changed_is_named_and_the_others_are_let_go() {
    let cluster = Cluster::new();
    cluster.pod("shop", "stubborn", &[GATE]);
    cluster.pod("shop", "willing", &[GATE]);
    let why = "admission webhook \"frozen.example.com\" denied the request: nothing changes today";
    cluster.forbid(&path("shop", "stubborn"), why);
    let error = cluster.release().await.1.unwrap_err();
    assert!(matches!(error, ReleaseError::Refused { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!(
            "1 pod was not released: shop/stubborn: {why} (403); run this as somebody who may, such as an administrator of the cluster, or delete the pod if a controller replaces it"
        )
    );
    assert!(cluster.gates("shop", "willing").is_empty());
}

#[tokio::test(start_paused = true)]
async fn pods_are_let_go_where_no_operator_is_left() {
    let cluster = Cluster::default();
    cluster.pod("shop", "web", &[GATE]);
    let (steps, released) = cluster.release().await;
    assert_eq!(released.unwrap().pods.len(), 1);
    assert_eq!(
        steps,
        [
            Step::NoOperator,
            Step::WebhookDeleted { existed: false },
            Step::PodsReleased {
                pods: 1,
                namespaces: 1
            }
        ]
    );
    assert_eq!(cluster.api.get(LEASE), None);
    let (steps, released) = cluster.release().await;
    assert!(released.unwrap().pods.is_empty());
    assert_eq!(
        steps.last().unwrap().to_string(),
        "no pod waits behind the gate"
    );
}
