//! Which orders act.

use outrigger_control::{MAX_TERM_STEP, Pair, Role, Slot};

use crate::client::Connection;
use crate::pod::Pod;

crate::trials![
    an_order_whose_term_jumps_too_far_is_refused_and_reported,
    an_order_acts_once_and_older_ones_are_history,
    an_order_for_the_active_slot_is_recorded,
    an_order_is_obeyed_by_a_slot_that_starts_later,
    a_successor_that_cannot_be_found_yet_stays_the_only_owner,
];

async fn an_order_whose_term_jumps_too_far_is_refused_and_reported() {
    let pod = Pod::at_rest().await;
    let too_far = 1 + MAX_TERM_STEP + 1;
    pod.order(too_far, Slot::B);
    for slot in Slot::BOTH {
        let report = pod
            .until(slot, "refusing", |report| report.order_refused.is_some())
            .await;
        let reason = report.order_refused.unwrap();
        assert!(
            reason.contains(&too_far.to_string()) && reason.contains(&MAX_TERM_STEP.to_string()),
            "{reason}"
        );
    }
    assert_eq!(pod.report(Slot::A).await.unwrap().role, Role::Active);
    let furthest = 1 + MAX_TERM_STEP;
    pod.order(furthest, Slot::B);
    pod.until_swapped(furthest, Slot::B).await;
    for slot in Slot::BOTH {
        pod.until(slot, "content", |report| report.order_refused.is_none())
            .await;
    }
}

async fn an_order_acts_once_and_older_ones_are_history() {
    let pod = Pod::at_rest().await;
    pod.order(5, Slot::B);
    pod.until_swapped(5, Slot::B).await;
    for term in [5, 4] {
        pod.order(term, Slot::A);
        for slot in Slot::BOTH {
            let report = pod
                .until(slot, "aware of the order", |report| {
                    report.order_term == Some(term)
                })
                .await;
            let role = if slot == Slot::B {
                Role::Active
            } else {
                Role::Standby
            };
            assert_eq!((report.role, report.pair.term), (role, 5));
        }
    }
    // Both have decided by now; an order that acts is obeyed by the same path.
    pod.order(6, Slot::A);
    pod.until_swapped(6, Slot::A).await;
    assert_eq!(pod.report(Slot::A).await.unwrap().handover.completed, 2);
}

async fn an_order_for_the_active_slot_is_recorded() {
    let pod = Pod::at_rest().await;
    pod.order(7, Slot::A);
    let pair = Pair {
        term: 7,
        takeover: 0,
    };
    for slot in Slot::BOTH {
        pod.until(slot, "aware of the new term", |report| report.pair == pair)
            .await;
    }
    assert_eq!(pod.report(Slot::A).await.unwrap().role, Role::Active);
}

async fn an_order_is_obeyed_by_a_slot_that_starts_later() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    pod.start(Slot::B);
    pod.until_swapped(2, Slot::B).await;
}

async fn a_successor_that_cannot_be_found_yet_stays_the_only_owner() {
    let pod = Pod::at_rest().await;
    let mut kept = Connection::open(pod.port).await.unwrap();
    kept.get("/", "before").await.unwrap();
    // Where a new owner's socket is made there is something that cannot be removed.
    let obstacle = pod.shared().join("state/owner.sock.new");
    std::fs::create_dir(&obstacle).unwrap();
    pod.order(2, Slot::B);
    pod.logged(Slot::B, "Owner's socket could not be had").await;
    pod.until_active(Slot::B).await;
    for _ in 0..20 {
        let mut new = Connection::open(pod.port).await.unwrap();
        assert_eq!(new.get("/", "new").await.unwrap().seen.slot, "b");
    }
    assert_eq!(kept.get("/", "kept").await.unwrap().seen.slot, "b");
    let former = pod.report(Slot::A).await.unwrap();
    assert_eq!(former.role, Role::Draining);
    std::fs::remove_dir(&obstacle).unwrap();
    let report = pod.until_swapped(2, Slot::B).await;
    assert_eq!(report.handover.completed, 1);
}
