//! What only one worker may have at a time, through handovers and changes of configuration.

use std::collections::BTreeSet;
use std::fs::File;
use std::future::ready;
use std::os::fd::AsFd;
use std::time::Duration;

use outrigger_control::{Role, Slot};
use rustix::fs::{FlockOperation, MemfdFlags, SealFlags, fcntl_add_seals, flock, memfd_create};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::client::{self, Connection};
use crate::ledger::{STORE, obstacle};
use crate::lines::Client;
use crate::pod::Pod;
use crate::protocol::{NewSide, OldSide, OldStage};

crate::trials![
    a_count_in_memory_is_exact_over_ten_handovers_under_load,
    a_store_that_the_other_slot_cannot_open_stays_where_it_is,
    a_new_side_that_dies_before_the_commit_gives_the_store_back,
    a_former_release_finds_the_store_closed,
    a_store_that_the_former_slot_cannot_open_again_moves_at_once,
    a_connection_that_does_not_leave_keeps_the_store_where_it_is,
    connections_of_other_functions_do_not_keep_the_store_where_it_is,
    upgraded_connections_outlive_a_store_that_cannot_be_opened_for_long,
    a_slot_that_is_told_to_stop_passes_its_count_on,
    a_slot_that_is_stopped_amid_a_long_request_closes_the_store_before_the_other_opens_it,
    a_change_of_configuration_keeps_the_count,
    a_rotated_secret_keeps_the_count,
    after_a_crash_the_rescuer_opens_the_store,
    an_old_side_that_dies_before_the_commit_leaves_the_store_open_in_the_new,
];

/// Clients that have each request counted, some of them slowly.
struct Counting {
    done: watch::Sender<bool>,
    answered: watch::Sender<u64>,
    clients: JoinSet<Vec<u64>>,
}

impl Counting {
    async fn begin(port: u16) -> Counting {
        let done = watch::Sender::new(false);
        let answered = watch::Sender::new(0);
        let mut clients = JoinSet::new();
        for path in ["/", "/", "/", "/slow", "/slow"] {
            let (done, answered) = (done.subscribe(), answered.clone());
            let mut connection = Connection::open(port).await.unwrap();
            clients.spawn(async move {
                let mut counts = Vec::new();
                while !*done.borrow() {
                    let answer = connection.get(path, "counted").await.unwrap();
                    counts.push(answer.seen.count.unwrap());
                    answered.send_modify(|answered| *answered += 1);
                    tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                }
                counts
            });
        }
        Counting {
            done,
            answered,
            clients,
        }
    }

    /// Waits for some more answers.
    async fn answers(&self, more: u64) {
        let mut answered = self.answered.subscribe();
        let enough = *answered.borrow() + more;
        answered
            .wait_for(|answered| *answered >= enough)
            .await
            .unwrap();
    }

    /// No request failed, and each was counted once.
    async fn assert_exact(self) {
        self.done.send_replace(true);
        let counts = self.clients.join_all().await.concat();
        let distinct: BTreeSet<u64> = counts.iter().copied().collect();
        let expected: BTreeSet<u64> = (1..=counts.len() as u64).collect();
        assert_eq!(distinct, expected);
    }
}

async fn pod_with_ledger() -> (Pod, Counting) {
    let pod = Pod::with_ledger().await;
    let counting = Counting::begin(pod.port).await;
    counting.answers(20).await;
    (pod, counting)
}

async fn a_count_in_memory_is_exact_over_ten_handovers_under_load() {
    let (pod, counting) = pod_with_ledger().await;
    let mut active = Slot::A;
    for term in 2..12 {
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
        counting.answers(20).await;
    }
    counting.assert_exact().await;
}

async fn a_store_that_the_other_slot_cannot_open_stays_where_it_is() {
    let (pod, counting) = pod_with_ledger().await;
    let obstacle = pod.shared().join(obstacle("b"));
    File::create(&obstacle).unwrap();
    pod.order(2, Slot::B);
    let report = pod
        .until(Slot::A, "told that the store stays closed", |report| {
            report.handover.aborted >= 2
        })
        .await;
    let reason = report.handover.last_error.unwrap();
    assert_eq!(
        reason,
        "in the other slot function echo cannot be opened: the store is closed to this slot"
    );
    counting.answers(20).await;
    std::fs::remove_file(obstacle).unwrap();
    pod.until_swapped(2, Slot::B).await;
    counting.answers(20).await;
    counting.assert_exact().await;
}

async fn a_connection_that_does_not_leave_keeps_the_store_where_it_is() {
    let (pod, counting) = pod_with_ledger().await;
    let mut staying = Client::open(pod.port, "/stay").await;
    pod.order(2, Slot::B);
    let report = pod
        .until(Slot::A, "tired of waiting", |report| {
            report.handover.aborted == 1 && report.role == Role::Active
        })
        .await;
    let reason = report.handover.last_error.unwrap();
    assert_eq!(
        reason,
        "function echo: 1 connection still in a request, or upgraded and not leaving, after 5 s"
    );
    // By these words the operator knows that the owner has the reason.
    pod.until(Slot::B, "told that the owner goes on", |report| {
        let reason = report.handover.last_error.as_deref();
        reason.is_some_and(|reason| reason.starts_with("the owner gave the handover up"))
    })
    .await;
    assert_eq!(staying.say(ready(())).await, "a");
    drop(staying);
    pod.until_swapped(2, Slot::B).await;
    counting.answers(20).await;
    counting.assert_exact().await;
}

async fn a_store_that_the_former_slot_cannot_open_again_moves_at_once() {
    let (pod, counting) = pod_with_ledger().await;
    counting.assert_exact().await;
    File::create(pod.shared().join(obstacle("a"))).unwrap();
    pod.rotate_secret("another");
    pod.logged(Slot::A, "cannot be opened").await;
    let mut waiting = Connection::open(pod.port).await.unwrap();
    waiting.send(client::get("/", "waiting")).await.unwrap();
    pod.until(Slot::A, "asked", |report| report.traffic.in_flight == 1)
        .await;
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    assert!(!pod.log(Slot::A).contains("Handover was aborted"));
    let (head, _) = waiting.message().await.unwrap();
    assert!(head.starts_with("http/1.1 503 "), "{head}");
    assert!(waiting.get("/", "again").await.unwrap().seen.count > Some(20));
}

async fn connections_of_other_functions_do_not_keep_the_store_where_it_is() {
    let pod = Pod::with_ledger().await;
    let mut staying = Client::open(pod.second_port, "/stay").await;
    let mut half_sent = Connection::open(pod.second_port).await.unwrap();
    let head = "POST /?half HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\n";
    half_sent.send(head).await.unwrap();
    pod.until(Slot::A, "asked", |report| report.traffic.in_flight == 1)
        .await;
    pod.order(2, Slot::B);
    pod.until(Slot::B, "active", |report| report.role == Role::Active)
        .await;
    assert_eq!(staying.say(ready(())).await, "a");
    half_sent.send("body").await.unwrap();
    assert_eq!(half_sent.answer("half").await.unwrap().seen.slot, "a");
    drop(staying);
    pod.until_swapped(2, Slot::B).await;
    assert!(!pod.log(Slot::A).contains("Handover was aborted"));
}

async fn upgraded_connections_outlive_a_store_that_cannot_be_opened_for_long() {
    let pod = Pod::with_ledger().await;
    let mut clients = [
        Client::open(pod.port, "/").await,
        Client::open(pod.second_port, "/").await,
    ];
    let obstacle = pod.shared().join(obstacle("a"));
    File::create(&obstacle).unwrap();
    pod.rotate_secret("another");
    pod.logged(Slot::A, "cannot be opened").await;
    // Longer than a connection has that is told to leave.
    let cut = timeout(Duration::from_secs(11), pod.logged(Slot::A, "was cut")).await;
    assert!(cut.is_err());
    std::fs::remove_file(obstacle).unwrap();
    for client in &mut clients {
        assert_eq!(client.say(ready(())).await, "a");
    }
}

async fn a_slot_that_is_told_to_stop_passes_its_count_on() {
    let (mut pod, counting) = pod_with_ledger().await;
    pod.terminate(Slot::A);
    assert!(pod.ended(Slot::A).await.success());
    pod.until_active(Slot::B).await;
    counting.answers(20).await;
    counting.assert_exact().await;
}

async fn a_slot_that_is_stopped_amid_a_long_request_closes_the_store_before_the_other_opens_it() {
    let mut pod = Pod::with_ledger().await;
    let _staying = Client::open(pod.port, "/stay").await;
    pod.terminate(Slot::A);
    assert!(pod.ended(Slot::A).await.success());
    pod.until_active(Slot::B).await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    let answer = connection.get("/", "counted").await.unwrap();
    assert_eq!(answer.seen.slot, "b");
    // Its file was locked if the other slot had it still.
    assert!(!pod.log(Slot::B).contains("cannot be opened"));
}

async fn a_new_side_that_dies_before_the_commit_gives_the_store_back() {
    let mut pod = Pod::create();
    pod.configure("ledger", "yes");
    pod.order(1, Slot::A);
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let counting = Counting::begin(pod.port).await;
    counting.answers(20).await;
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    let (peer, _packets) = NewSide::Begun.play_as(&pod, 2, true);
    let mut kinds = Vec::new();
    while kinds.last() != Some(&'O') {
        let packet = peer.receive().expect("a message");
        if packet.kind == 'C' {
            peer.send('A', packet.id, &[], &[]);
        }
        kinds.push(packet.kind);
    }
    assert_eq!(kinds.iter().filter(|kind| **kind == 'F').count(), 1);
    // It is closed in the old side, and nobody has opened it yet.
    let store = File::open(pod.shared().join(STORE)).unwrap();
    flock(&store, FlockOperation::NonBlockingLockExclusive).unwrap();
    drop((peer, store));
    counting.answers(20).await;
    counting.assert_exact().await;
}

async fn a_former_release_finds_the_store_closed() {
    let mut pod = Pod::create();
    pod.configure("ledger", "yes");
    pod.order(1, Slot::A);
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    connection.get("/", "counted").await.unwrap();
    pod.order(2, Slot::B);
    pod.until(Slot::A, "aware of the order", |report| {
        report.order_term == Some(2)
    })
    .await;
    let (_peer, packets) = NewSide::ReceivedCommit.play_as(&pod, 2, false);
    let known = |kind| matches!(kind, 'L' | 'B' | 'C' | 'S');
    assert!(
        packets.iter().all(|packet| known(packet.kind)),
        "{packets:?}"
    );
    let store = File::open(pod.shared().join(STORE)).unwrap();
    flock(&store, FlockOperation::NonBlockingLockExclusive).unwrap();
}

async fn a_change_of_configuration_keeps_the_count() {
    let (mut pod, counting) = pod_with_ledger().await;
    for value in ["another", "a third"] {
        pod.configure("ledger", value);
        pod.order(1, Slot::A);
        pod.until(Slot::A, "using the new configuration", |report| {
            report.configuration.hash.as_ref() == Some(&pod.config)
        })
        .await;
        counting.answers(20).await;
    }
    counting.assert_exact().await;
}

async fn a_rotated_secret_keeps_the_count() {
    const TAKEN: &str = "Configuration was taken";
    let (pod, counting) = pod_with_ledger().await;
    let taken = pod.log(Slot::A).matches(TAKEN).count();
    pod.rotate_secret("another");
    pod.logged_times(Slot::A, TAKEN, taken + 1).await;
    counting.answers(20).await;
    counting.assert_exact().await;
}

async fn after_a_crash_the_rescuer_opens_the_store() {
    let mut pod = Pod::with_ledger().await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    let before = connection.get("/", "counted").await.unwrap();
    assert_eq!(before.seen.count, Some(1));
    pod.kill(Slot::A);
    let mut connection = Connection::open(pod.port).await.unwrap();
    let after = connection.get("/", "counted").await.unwrap();
    // What was in memory only is lost with its process.
    assert_eq!((after.seen.slot.as_str(), after.seen.count), ("b", Some(1)));
}

async fn an_old_side_that_dies_before_the_commit_leaves_the_store_open_in_the_new() {
    let mut pod = Pod::create();
    pod.configure("ledger", "yes");
    pod.order(1, Slot::A);
    let old = OldSide::start(&pod);
    let mut kept = Connection::open(pod.port).await.unwrap();
    pod.start(Slot::B);
    let giving = old.give(&pod, OldStage::Acknowledged, b"").await;
    let state = memfd_create("count", MemfdFlags::ALLOW_SEALING).unwrap();
    rustix::io::write(&state, b"41").unwrap();
    fcntl_add_seals(
        &state,
        SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE,
    )
    .unwrap();
    giving.peer.send('F', 0, b"echo", &[state.as_fd()]);
    giving.peer.send('O', 0, b"", &[]);
    giving.peer.expect('A');
    drop(giving);
    let answer = kept.get("/", "counted").await.unwrap();
    assert_eq!(answer.seen.count, Some(42));
}
