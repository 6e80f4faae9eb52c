//! Handovers by order.

use outrigger_control::Slot;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::Connection;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    twenty_handovers_under_mixed_load_lose_nothing,
    connections_of_every_function_move,
    a_connection_that_has_sent_nothing_moves,
    more_idle_connections_than_a_batch_move,
    ten_thousand_idle_connections_move,
    early_connects_wait_in_the_backlog,
];

async fn twenty_handovers_under_mixed_load_lose_nothing() {
    let pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    let mut active = Slot::A;
    let mut commits = Vec::new();
    for term in 2..22 {
        load.answers(100).await;
        active = active.peer();
        pod.order(term, active);
        pod.until_swapped(term, active).await;
        let report = pod.report(active).await.unwrap();
        assert_eq!(report.handover.completed, term - 1);
        commits.push(report.handover.commit_micros);
    }
    load.answers(100).await;
    commits.sort();
    println!("request to commit: {commits:?} µs");
    load.finish().await.assert_lossless();
}

async fn connections_of_every_function_move() {
    let pod = Pod::at_rest().await;
    let mut kept = Vec::new();
    for port in [pod.port, pod.second_port] {
        let mut connection = Connection::open(port).await.unwrap();
        let answer = connection.get("/", "before").await.unwrap();
        assert_eq!(answer.seen.slot, "a");
        kept.push(connection);
    }
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    for connection in &mut kept {
        let answer = connection.get("/", "after").await.unwrap();
        assert_eq!(answer.seen.slot, "b");
    }
}

async fn a_connection_that_has_sent_nothing_moves() {
    let pod = Pod::at_rest().await;
    let mut connection = Connection::open(pod.port).await.unwrap();
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    pod.order(3, Slot::A);
    pod.until_swapped(3, Slot::A).await;
    let answer = connection.get("/", "first").await.unwrap();
    assert_eq!(answer.seen.slot, "a");
}

async fn more_idle_connections_than_a_batch_move() {
    idle_connections_move(2_300).await;
}

async fn ten_thousand_idle_connections_move() {
    idle_connections_move(10_000).await;
}

/// Descriptors of a process besides those of its connections, generously.
const OTHER_FILES: u64 = 300;

/// Hands idle connections over, each of which is alive afterwards. The slots take their limit of
/// open files from this process.
async fn idle_connections_move(connections: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Some(files) = maximum
        && files < connections + OTHER_FILES
    {
        println!(
            "skipped: {connections} connections need more than the {files} open files allowed"
        );
        return;
    }
    let current = maximum;
    setrlimit(Resource::Nofile, Rlimit { current, maximum }).unwrap();
    let pod = Pod::at_rest().await;
    let mut kept = Vec::new();
    for number in 0..connections {
        let mut connection = Connection::open(pod.port).await.unwrap();
        connection.get("/", &number.to_string()).await.unwrap();
        kept.push(connection);
    }
    pod.order(2, Slot::B);
    pod.until_swapped(2, Slot::B).await;
    pod.until(Slot::B, "in charge of every connection", |report| {
        report.traffic.connections == connections
    })
    .await;
    let handover = pod.report(Slot::B).await.unwrap().handover;
    println!(
        "{connections} connections: {} with the commit, which came after {} µs",
        handover.connections, handover.commit_micros
    );
    for (number, connection) in kept.iter_mut().enumerate() {
        let answer = connection.get("/", &number.to_string()).await.unwrap();
        assert_eq!(answer.seen.slot, "b");
    }
}

async fn early_connects_wait_in_the_backlog() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    // The first connect that is not refused comes long before the worker runs.
    let mut connection = loop {
        match Connection::open(pod.port).await {
            Ok(connection) => break connection,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    connection.get("/", "early").await.unwrap();
    Connection::open(pod.second_port).await.unwrap();
}
