use serde_json::json;

use super::*;

const NOW: Timestamp = Timestamp::constant(1_000, 0);
const LATE: Timestamp = Timestamp::constant(1_030, 0);

fn pod(hash: &str) -> SwapPod {
    let order = json!({
        "v": 1, "term": 1, "active": "a", "config": {"a": hash, "b": hash},
        "revision": {"a": "orders-1", "b": "orders-1"}, "admin": {"a": 15020, "b": 15021},
        "phase": "Rest", "since": "1970-01-01T00:00:00Z",
    });
    let container = |name| json!({"name": name, "image": "sidecar:1"});
    let status = |name| {
        json!({
            "name": name, "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": name, "state": {"running": {}},
        })
    };
    let pod = serde_json::from_value(json!({
        "metadata": {
            "name": "web", "uid": "1", "labels": {"outrigger.dev/app": "shop"},
            "annotations": {"outrigger.dev/slot-orders": order.to_string()},
        },
        "spec": {"containers": [], "initContainers": [container("orders-a"), container("orders-b")]},
        "status": {"initContainerStatuses": [status("orders-a"), status("orders-b")]},
    }))
    .unwrap();
    SwapPod::read(&pod, "orders").unwrap().unwrap()
}

fn answers(configuration: serde_json::Value) -> BTreeMap<String, Answers> {
    let report = |slot: &str| {
        let report = json!({
            "sidecar": "orders", "slot": slot, "version": "1", "role": "Standby",
            "pair": {"term": 1, "takeover": 0}, "warm": true, "configuration": configuration,
            "workerRestarts": 0, "drained": true,
            "traffic": {"connections": 0, "inFlight": 0, "answered": 0, "serverErrors": 0},
            "handover": {"completed": 0, "aborted": 0, "connections": 0, "commitMicros": 0},
        });
        outrigger_rollout::Answer::Report(Box::new(serde_json::from_value(report).unwrap()))
    };
    let both = PerSlot {
        a: report("a"),
        b: report("b"),
    };
    BTreeMap::from([("1".to_owned(), both)])
}

#[test]
fn a_pod_is_asked_until_it_uses_its_document_and_again_when_that_changes() {
    let settling = Settling::default();
    let pods = [pod("one")];
    let asked = settling.unsettled("s/orders", &pods, NOW);
    assert_eq!(asked.len(), 1);
    assert!(!settling.learn("s/orders", &asked, &answers(json!({"hash": "zero"})), NOW));
    assert_eq!(settling.unsettled("s/orders", &pods, NOW).len(), 1);
    assert!(settling.learn("s/orders", &asked, &answers(json!({"hash": "one"})), NOW));
    assert_eq!(settling.unsettled("s/orders", &pods, NOW).len(), 0);
    assert_eq!(settling.unsettled("s/orders", &[pod("two")], NOW).len(), 1);
}

#[test]
fn a_refusal_stays_until_the_slots_use_what_they_are_to_use() {
    let settling = Settling::default();
    let refusing =
        json!({"hash": "one", "refused": {"hash": "two", "message": "keyFields is empty"}});
    let pods = [pod("two")];
    let asked = settling.unsettled("s/orders", &pods, NOW);
    assert!(settling.learn("s/orders", &asked, &answers(refusing), NOW));
    let refused = settling.refusals("s/orders");
    assert_eq!(refused[0].message, "keyFields is empty");
    assert_eq!((refused[0].pod.as_str(), refused[0].slot), ("web", Slot::A));
    let pods = [pod("three")];
    let asked = settling.unsettled("s/orders", &pods, NOW);
    assert_eq!(settling.refusals("s/orders").len(), 1);
    settling.learn("s/orders", &asked, &answers(json!({"hash": "three"})), NOW);
    assert_eq!(settling.refusals("s/orders"), []);
}

#[test]
fn silent_slots_are_not_asked_for_ever_and_pods_that_are_gone_are_forgotten() {
    let settling = Settling::default();
    let pods = [pod("one")];
    let asked = settling.unsettled("s/orders", &pods, NOW);
    let silent = outrigger_rollout::Answer::Silent {
        since: NOW,
        error: "refused".into(),
    };
    let silent = BTreeMap::from([("1".to_owned(), PerSlot::both(silent))]);
    assert!(!settling.learn("s/orders", &asked, &silent, NOW));
    assert!(settling.learn("s/orders", &asked, &silent, LATE));
    settling.unsettled("s/orders", &[], LATE);
    assert_eq!(settling.unsettled("s/orders", &pods, LATE).len(), 1);
}

#[test]
fn an_application_whose_part_is_refused_is_named() {
    let settling = Settling::default();
    let pods = [pod("one")];
    let asked = settling.unsettled("s/orders", &pods, NOW);
    let refused = json!({"bank": "keyFields is []", "shop": "keyFields is {}"});
    let answers = |hash: &str| answers(json!({"hash": hash, "refusedTenants": refused}));
    // It is about a former document.
    assert!(!settling.learn("s/orders", &asked, &answers("zero"), NOW));
    assert_eq!(settling.refusals("s/orders"), []);
    assert!(settling.learn("s/orders", &asked, &answers("one"), NOW));
    assert_eq!(
        settling.refusals("s/orders")[0].message,
        "application bank: keyFields is []; the parts of 1 other applications are refused too"
    );
}
