//! Workers and slots that die.

use std::time::{Duration, Instant};

use outrigger_control::{Pair, Report, Role, Slot};
use rustix::process::{Signal, kill_process};

use crate::client::Connection;
use crate::load::Load;
use crate::pod::Pod;

crate::trials![
    a_killed_active_worker_takes_only_its_connections_along,
    a_killed_standby_worker_harms_nobody,
    a_killed_worker_of_a_lone_slot_is_replaced_and_connects_wait,
    a_restarted_slot_becomes_the_standby_of_its_rescuer,
    twenty_killed_containers_in_turn_are_rescued_from,
    a_standby_rescues_at_once_even_while_it_tests_itself,
    rescues_in_turn_are_counted_and_an_order_ends_them,
    a_new_worker_killed_at_any_moment_of_a_handover_leaves_the_service_up,
    an_old_worker_killed_at_any_moment_of_a_handover_leaves_the_service_up,
    a_new_worker_killed_at_any_moment_leaves_the_store_usable,
    an_old_worker_killed_at_any_moment_leaves_the_store_usable,
];

fn is_active_in(pair: Pair) -> impl Fn(&Report) -> bool {
    move |report| report.role == Role::Active && report.pair == pair
}

async fn a_killed_active_worker_takes_only_its_connections_along() {
    let pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    load.answers(300).await;
    let begun = Instant::now();
    let death = pod.kill_worker(Slot::A).await;
    let rescue = Pair {
        term: 1,
        takeover: 1,
    };
    // Mostly the standby, but the killed worker's successor may be faster: see the design.
    let rescuer = pod.until_rescued(rescue).await;
    load.answers(300).await;
    let rescuer = pod.worker(rescuer).await.as_raw_nonzero().get();
    let first = load.tally.first_answer(rescuer.cast_unsigned()).unwrap();
    println!("first answer {:?} after the signal", first - begun);
    load.finish().await.assert_lost_only_with(death);
}

async fn a_killed_standby_worker_harms_nobody() {
    let pod = Pod::at_rest().await;
    let load = Load::mixed(pod.port);
    for restarts in 1..=3 {
        load.answers(100).await;
        pod.kill_worker(Slot::B).await;
        pod.until(Slot::B, "a standby with a new worker", |report| {
            report.role == Role::Standby && report.worker_restarts == restarts
        })
        .await;
    }
    let report = pod.report(Slot::A).await.unwrap();
    assert_eq!((report.role, report.pair.takeover), (Role::Active, 0));
    load.finish().await.assert_lossless();
}

async fn a_killed_worker_of_a_lone_slot_is_replaced_and_connects_wait() {
    let mut pod = Pod::create();
    pod.start(Slot::A);
    pod.until_active(Slot::A).await;
    let load = Load::steady(pod.port);
    let mut death = Instant::now();
    for restarts in 1..=3 {
        load.answers(100).await;
        death = pod.kill_worker(Slot::A).await;
        pod.until(Slot::A, "active with a new worker", |report| {
            report.role == Role::Active && report.worker_restarts == restarts
        })
        .await;
    }
    load.answers(100).await;
    load.finish().await.assert_lost_only_with(death);
}

async fn a_restarted_slot_becomes_the_standby_of_its_rescuer() {
    let mut pod = Pod::at_rest().await;
    let load = Load::steady(pod.port);
    load.answers(100).await;
    pod.kill(Slot::A);
    let death = Instant::now();
    let rescue = Pair {
        term: 1,
        takeover: 1,
    };
    pod.until(Slot::B, "the rescuer", is_active_in(rescue))
        .await;
    pod.start(Slot::A);
    // Its order still names slot a, but has acted already.
    let report = pod.until_standby(Slot::A).await;
    assert_eq!((report.order_term, report.pair), (Some(1), rescue));
    load.answers(200).await;
    let report = pod.report(Slot::B).await.unwrap();
    assert_eq!((report.role, report.pair), (Role::Active, rescue));
    load.finish().await.assert_lost_only_with(death);
}

async fn twenty_killed_containers_in_turn_are_rescued_from() {
    let mut pod = Pod::at_rest().await;
    let mut active = Slot::A;
    let mut silences = Vec::new();
    for takeover in 1..=20 {
        let killed = Instant::now();
        pod.kill(active);
        let rescuer = active.peer();
        let mut connection = Connection::open(pod.port).await.unwrap();
        let answer = connection.get("/", "next").await.unwrap();
        silences.push(killed.elapsed());
        assert_eq!(answer.seen.slot, rescuer.as_str());
        let rescue = Pair { term: 1, takeover };
        pod.until(rescuer, "the rescuer", is_active_in(rescue))
            .await;
        pod.start(active);
        pod.until_standby(active).await;
        active = rescuer;
    }
    silences.sort();
    println!(
        "first answer after a kill: at least {:?}, median {:?}, at most {:?}",
        silences[0], silences[10], silences[19]
    );
}

async fn a_standby_rescues_at_once_even_while_it_tests_itself() {
    let mut pod = Pod::at_rest().await;
    pod.configure("stall", "the store gives no answer");
    pod.order(2, Slot::B);
    pod.until(Slot::B, "testing itself", |report| {
        report.configuration.hash.as_ref() == Some(&pod.config)
            && report.order_term == Some(2)
            && report.warm
    })
    .await;
    pod.kill(Slot::A);
    let report = pod.until_active(Slot::B).await;
    // It did not wait for the end of its test, which would have failed.
    assert_eq!(report.handover.aborted, 0, "{report:?}");
}

async fn rescues_in_turn_are_counted_and_an_order_ends_them() {
    let pod = Pod::at_rest().await;
    let mut active = Slot::A;
    for takeover in 1..=4 {
        pod.kill_worker(active).await;
        active = pod.until_rescued(Pair { term: 1, takeover }).await;
    }
    // An order for the slot that serves would change nothing but the record.
    pod.order(2, active.peer());
    pod.until_swapped(2, active.peer()).await;
}

/// Kills the worker of a slot a little later in each of several handovers to slot b.
async fn kill_during_handovers(pod: Pod, killed: Slot) {
    // More would mostly wait for the back-off of the killed worker.
    const ROUNDS: u32 = 8;
    let load = Load::steady(pod.port);
    let mut term = 1;
    let mut death = Instant::now();
    for round in 0..ROUNDS {
        load.answers(50).await;
        let victim = pod.worker(killed).await;
        term += 1;
        pod.order(term, Slot::B);
        // Spread over the handover, which takes some milliseconds; where it hits is chance.
        tokio::time::sleep(Duration::from_millis(1) * round).await;
        kill_process(victim, Signal::KILL).unwrap();
        death = Instant::now();
        // Whoever serves now, both slots recover and obey the next order.
        load.answers(50).await;
        term += 1;
        pod.order(term, Slot::A);
        pod.until_swapped(term, Slot::A).await;
    }
    // The last kill may have been seen late.
    load.finish()
        .await
        .assert_lost_only_with(death + Duration::from_millis(1));
    Connection::open(pod.port).await.unwrap();
}

async fn a_new_worker_killed_at_any_moment_of_a_handover_leaves_the_service_up() {
    kill_during_handovers(Pod::at_rest().await, Slot::B).await;
}

async fn an_old_worker_killed_at_any_moment_of_a_handover_leaves_the_service_up() {
    kill_during_handovers(Pod::at_rest().await, Slot::A).await;
}

async fn a_new_worker_killed_at_any_moment_leaves_the_store_usable() {
    kill_during_handovers(Pod::with_ledger().await, Slot::B).await;
}

async fn an_old_worker_killed_at_any_moment_leaves_the_store_usable() {
    kill_during_handovers(Pod::with_ledger().await, Slot::A).await;
}
