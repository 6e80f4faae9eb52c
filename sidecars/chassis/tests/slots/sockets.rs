//! Functions behind Unix sockets.

use outrigger_control::Slot;

use crate::client::Connection;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    handovers_under_load_through_a_unix_socket_lose_nothing,
    a_unix_socket_outlives_both_workers,
];

async fn handovers_under_load_through_a_unix_socket_lose_nothing() {
    let pod = Pod::at_rest().await;
    let load = Load::mixed(pod.socket("echo"));
    let mut second = Connection::open(pod.socket("second")).await.unwrap();
    let mut active = Slot::A;
    for term in 2..12 {
        load.answers(100).await;
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
        let answer = second.get("/", "second").await.unwrap();
        assert_eq!(answer.seen.slot, active.to_string());
    }
    load.answers(100).await;
    load.finish().await.assert_lossless();
}

async fn a_unix_socket_outlives_both_workers() {
    let mut pod = Pod::at_rest().await;
    for _ in 0..2 {
        for slot in Slot::BOTH {
            pod.kill_worker(slot).await;
        }
        // It waits in the queue that the supervisors keep.
        let mut connection = Connection::open(pod.socket("echo")).await.unwrap();
        connection.get("/", "kept").await.unwrap();
    }
    // A whole slot that starts anew is given them by the other.
    pod.kill(Slot::A);
    pod.until_active(Slot::B).await;
    pod.start(Slot::A);
    pod.until_standby(Slot::A).await;
    pod.kill(Slot::B);
    pod.until_active(Slot::A).await;
    let mut connection = Connection::open(pod.socket("echo")).await.unwrap();
    connection.get("/", "late").await.unwrap();
}
