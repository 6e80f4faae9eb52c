//! SIGTERM.

use outrigger_control::{Role, Slot};

use crate::client::Connection;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    an_active_slot_that_is_stopped_hands_over_first,
    a_standby_that_is_stopped_ends_without_a_trace,
    the_last_slot_finishes_its_requests_before_it_ends,
    both_slots_stopped_at_once_end,
];

async fn an_active_slot_that_is_stopped_hands_over_first() {
    let mut pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    load.answers(300).await;
    pod.terminate(Slot::A);
    assert!(pod.ended(Slot::A).await.success());
    pod.until_active(Slot::B).await;
    load.answers(300).await;
    // Its container starts again, as the new standby.
    pod.start(Slot::A);
    pod.until_standby(Slot::A).await;
    assert_eq!(pod.report(Slot::B).await.unwrap().role, Role::Active);
    load.answers(100).await;
    load.finish().await.assert_lossless();
}

async fn a_standby_that_is_stopped_ends_without_a_trace() {
    let mut pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    load.answers(100).await;
    pod.terminate(Slot::B);
    assert!(pod.ended(Slot::B).await.success());
    load.answers(100).await;
    pod.start(Slot::B);
    pod.until_standby(Slot::B).await;
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    load.answers(100).await;
    load.finish().await.assert_lossless();
}

async fn the_last_slot_finishes_its_requests_before_it_ends() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let mut idle = Connection::open(pod.port).await.unwrap();
    idle.get("/", "idle").await.unwrap();
    let mut busy = Connection::open(pod.port).await.unwrap();
    let request = tokio::spawn(async move { busy.get("/slow", "busy").await });
    pod.until(Slot::A, "busy", |report| report.traffic.in_flight == 1)
        .await;
    pod.terminate(Slot::A);
    request.await.unwrap().unwrap();
    assert!(pod.ended(Slot::A).await.success());
    idle.closed().await;
}

async fn both_slots_stopped_at_once_end() {
    let mut pod = Pod::at_rest().await;
    let mut busy = Connection::open(pod.port).await.unwrap();
    let request = tokio::spawn(async move { busy.get("/slow", "busy").await });
    pod.until(Slot::A, "busy", |report| report.traffic.in_flight == 1)
        .await;
    for slot in Slot::BOTH {
        pod.terminate(slot);
    }
    request.await.unwrap().unwrap();
    for slot in Slot::BOTH {
        assert!(pod.ended(slot).await.success());
    }
}
