//! Connections that speak another protocol after an HTTP request.

use std::future::ready;

use outrigger_control::{Report, Role, Slot};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::lines::Client;
use crate::pod::Pod;
use crate::protocol::NewSide;

crate::trials![
    upgraded_connections_move_with_their_state,
    an_upgraded_connection_that_cannot_move_stays_with_its_worker,
    an_upgraded_connection_survives_an_aborted_handover,
    a_former_release_is_passed_no_upgraded_connection,
    the_last_slot_lets_upgraded_connections_end,
    a_switch_that_nobody_asked_for_is_an_error,
];

async fn upgraded_connections_move_with_their_state() {
    let pod = Pod::at_rest().await;
    let (done, watch) = watch::channel(false);
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let mut client = Client::open(pod.port, "/").await;
        let watch = watch.clone();
        clients.spawn(async move {
            let mut moves = 0;
            let mut last = String::new();
            while !*watch.borrow() {
                let slot = client.say(tokio::task::yield_now()).await;
                moves += u32::from(slot != last);
                last = slot;
            }
            moves
        });
    }
    // One of which a half line was read moves with it.
    let mut slow = Client::open(pod.port, "/").await;
    let mut active = Slot::A;
    for term in 2..12 {
        active = active.peer();
        let slot = slow
            .say(async {
                pod.order(term, active);
                pod.until_swapped(term, active).await;
                let all = |report: &Report| report.traffic.connections == 9;
                pod.until(active, "in charge of every connection", all)
                    .await;
            })
            .await;
        assert_eq!(slot, active.as_str());
    }
    done.send_replace(true);
    for moves in clients.join_all().await {
        assert!(moves >= 2, "{moves} moves");
    }
}

async fn an_upgraded_connection_that_cannot_move_stays_with_its_worker() {
    let pod = Pod::at_rest().await;
    let mut client = Client::open(pod.port, "/stay").await;
    // Its worker has handed over, gets everything back, and has had the connection all along.
    for (term, active) in [(2, Slot::B), (3, Slot::A)] {
        pod.order(term, active);
        pod.until(active, "active by order", |report| {
            report.role == Role::Active && report.pair.term == term
        })
        .await;
        assert_eq!(client.say(ready(())).await, "a");
    }
}

async fn an_upgraded_connection_survives_an_aborted_handover() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let mut client = Client::open(pod.port, "/").await;
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    for (aborted, stage) in (1..).zip([NewSide::Begun, NewSide::HeldFirst]) {
        let (peer, packets) = stage.play_as(&pod, 2, true);
        assert_eq!(
            packets.iter().filter(|packet| packet.kind == 'U').count(),
            usize::from(stage == NewSide::HeldFirst)
        );
        drop(peer);
        pod.until(Slot::A, "aware of a death", |report| {
            report.handover.aborted == aborted
        })
        .await;
        assert_eq!(client.say(ready(())).await, "a");
    }
}

async fn a_former_release_is_passed_no_upgraded_connection() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let mut client = Client::open(pod.port, "/").await;
    let mut staying = Client::open(pod.port, "/stay").await;
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    let (_peer, packets) = NewSide::ReceivedCommit.play_as(&pod, 2, false);
    assert!(
        packets.iter().all(|packet| packet.kind != 'U'),
        "{packets:?}"
    );
    client.goodbye().await;
    assert_eq!(staying.say(ready(())).await, "a");
}

async fn the_last_slot_lets_upgraded_connections_end() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let mut client = Client::open(pod.port, "/").await;
    pod.terminate(Slot::A);
    client.goodbye().await;
    assert!(pod.ended(Slot::A).await.success());
}

async fn a_switch_that_nobody_asked_for_is_an_error() {
    let pod = Pod::at_rest().await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    let refused = connection.get("/unasked", "").await.unwrap_err();
    assert!(refused.contains("http/1.1 500 "), "{refused}");
    // The connection is as good as before.
    connection.get("/", "after").await.unwrap();
}
