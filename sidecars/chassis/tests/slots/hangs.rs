//! Workers that hang amid a handover, and go on.

use std::future::ready;
use std::time::Duration;

use outrigger_control::Slot;
use rustix::process::{Signal, kill_process};

use crate::lines::Client;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    a_new_worker_that_hangs_at_any_moment_of_a_handover_costs_nothing,
    an_old_worker_that_hangs_at_any_moment_of_a_handover_costs_nothing,
];

/// Longer than the silence after which a handover is given up.
const HANG: Duration = Duration::from_millis(150);

/// Stops the worker of a slot a little later in each of several handovers to slot b, for a while.
async fn hang_during_handovers(hung: Slot) {
    const ROUNDS: u32 = 10;
    let pod = Pod::with_ledger().await;
    let load = Load::mixed(pod.port);
    let mut upgraded = Client::open(pod.second_port, "/").await;
    let mut term = 1;
    for round in 0..ROUNDS {
        load.answers(50).await;
        let worker = pod.worker(hung).await;
        term += 1;
        pod.order(term, Slot::B);
        // Spread over the handover, which takes some milliseconds; where it hits is chance.
        tokio::time::sleep(Duration::from_micros(800) * round).await;
        kill_process(worker, Signal::STOP).unwrap();
        tokio::time::sleep(HANG).await;
        kill_process(worker, Signal::CONT).unwrap();
        // An attempt that was given up is made again.
        pod.until_swapped(term, Slot::B).await;
        term += 1;
        pod.order(term, Slot::A);
        pod.until_swapped(term, Slot::A).await;
        upgraded.say(ready(())).await;
    }
    for slot in Slot::BOTH {
        let report = pod.report(slot).await.unwrap();
        assert_eq!(report.worker_restarts, 0);
        let (_, metrics) = pod.admin(slot, "GET /metrics").await.unwrap();
        let handovers = |line: &&str| line.contains("sidecar_handovers_total");
        println!(
            "{slot}: {:?}",
            metrics.lines().filter(handovers).collect::<Vec<_>>()
        );
    }
    load.finish().await.assert_lossless();
}

async fn a_new_worker_that_hangs_at_any_moment_of_a_handover_costs_nothing() {
    hang_during_handovers(Slot::B).await;
}

async fn an_old_worker_that_hangs_at_any_moment_of_a_handover_costs_nothing() {
    hang_during_handovers(Slot::A).await;
}
