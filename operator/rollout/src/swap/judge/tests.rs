use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use outrigger_control::{Order, PerSlot, Phase, Report, Slot};
use serde_json::json;

use crate::swap::{Goal, Step, step};
use crate::{Answer, Answers, KnownRevision, SwapPod};

/// A pod whose slot b has the revision `new`, and is to take over from slot a.
fn pod() -> SwapPod {
    let order = Order {
        v: Order::VERSION,
        term: 2,
        active: Slot::B,
        config: PerSlot::both("c".to_owned()),
        revision: PerSlot {
            a: "old".to_owned(),
            b: "new".to_owned(),
        },
        admin: PerSlot { a: 15020, b: 15021 },
        phase: Phase::Handover,
        since: "2026-01-01T00:00:00Z".to_owned(),
        single: false,
        replaced: None,
        notes: Default::default(),
    };
    let slots = ["orders-a", "orders-b"];
    let containers = slots.map(|name| json!({"name": name, "image": "sidecar:1"}));
    let statuses = slots.map(|name| {
        json!({
            "name": name, "image": "sidecar:1", "imageID": "", "ready": true, "restartCount": 0,
            "containerID": name, "state": {"running": {}},
        })
    });
    let pod = serde_json::from_value(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": "web", "namespace": "store", "uid": "u",
            "labels": {"outrigger.dev/app": "shop"},
            "annotations": {"outrigger.dev/slot-orders": order.to_json().unwrap()},
        },
        "spec": {"containers": [{"name": "app"}], "initContainers": containers},
        "status": {"phase": "Running", "initContainerStatuses": statuses},
    }));
    SwapPod::read(&pod.unwrap(), "orders").unwrap().unwrap()
}

/// What a slot answers that has given handovers up.
fn answer(slot: Slot, aborted: u64, last_error: &str) -> Answer {
    let role = match slot {
        Slot::A => "Active",
        Slot::B => "Standby",
    };
    let report: Report = serde_json::from_value(json!({
        "sidecar": "orders", "slot": slot, "version": "1", "role": role,
        "pair": {"term": 1, "takeover": 0}, "orderTerm": 2, "warm": true,
        "configuration": {"hash": "c"}, "workerRestarts": 0, "drained": slot == Slot::B,
        "traffic": {"connections": 0, "inFlight": 0, "answered": 0, "serverErrors": 0},
        "handover": {
            "completed": 0, "aborted": aborted, "lastError": last_error, "connections": 0,
            "commitMicros": 0,
        },
    }))
    .unwrap();
    Answer::Report(Box::new(report))
}

/// What is said of a slot b that could not take over, by what the slots say last.
fn told(old: &str, new: &str) -> String {
    let target = KnownRevision {
        name: "new".to_owned(),
        image: "sidecar:2".to_owned(),
        digest: None,
        failed: None,
        failed_in: BTreeMap::new(),
        number: 2,
    };
    let goal = Goal {
        sidecar: "orders",
        target: &target,
        on_trial: true,
        in_place: false,
        config: Some("c"),
        soak: SignedDuration::ZERO,
        now: Timestamp::constant(1_800_000_000, 0),
    };
    let answers: Answers = PerSlot {
        a: answer(Slot::A, 3, old),
        b: answer(Slot::B, 3, new),
    };
    match step(&pod(), Some(&answers), &goal) {
        Step::Failed(failure) => failure.message,
        step => panic!("{step:?}"),
    }
}

#[test]
fn why_an_owner_gave_a_handover_up_is_told_in_its_own_words() {
    let busy = "function once: 1 connection still in a request";
    assert_eq!(
        told(
            busy,
            "the owner gave the handover up: its socket was closed"
        ),
        "pod web: slot b could not take over in 3 attempts; slot a gave the last one up: function once: 1 connection still in a request"
    );
    // What the owner says is of another attempt.
    let refused = "11 connections need 139 descriptors; the other slot may open 138";
    assert_eq!(
        told(busy, refused),
        format!("pod web: slot b could not take over in 3 attempts: {refused}")
    );
}
