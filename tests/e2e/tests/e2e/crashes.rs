//! Workers that are killed, and slots that are told to stop.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use outrigger_control::Slot;
use outrigger_e2e::load::{Failure, FailureKind, Orders, Outcome, verify};
use outrigger_e2e::shop::{PORT, SIDECAR};
use outrigger_e2e::trial::run_name;
use outrigger_e2e::{processes, slots};
use serde_json::json;

use crate::scene::{PATIENCE, Scene, Test, test};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        test!(a_killed_worker_fails_only_the_requests_in_it),
        test!(a_slot_that_is_told_to_stop_hands_over_first),
    ]
}

const KILLS: usize = 10;
const RATE: u32 = 400;

/// One `kill -9`.
struct Kill {
    target: SocketAddr,
    slot: Slot,
    at: Instant,
}

/// What failed was in a worker that was killed, and was answered for it by the application: no
/// connect was refused.
pub(crate) fn only_in_a_worker(outcome: &Outcome) {
    for failure in &outcome.failures {
        assert_eq!(failure.kind, FailureKind::Status(502), "{failure}");
        assert!(!failure.detail.contains("(Connect)"), "{failure}");
    }
}

async fn a_killed_worker_fails_only_the_requests_in_it(scene: Scene<'_>) -> anyhow::Result<()> {
    let mut example = scene.example()?;
    example.object("Deployment")?["spec"]["replicas"] = json!(2);
    let shop = scene.open(&example).await?;
    let observer = shop.observe().await?;
    let orders = Orders::new(run_name());
    let load = shop.load(RATE, &orders).await?;
    load.answers(400, PATIENCE).await?;
    let mut kills = Vec::new();
    for number in 0..KILLS {
        let pods = shop.pods().await?;
        let pod = &pods[number % pods.len()];
        let slot = slots::active(pod, SIDECAR).await?;
        let worker = processes::worker(slots::container(pod, SIDECAR, slot)?)?;
        let target = SocketAddr::new(slots::address(pod)?, PORT);
        let at = Instant::now();
        worker.kill()?;
        kills.push(Kill { target, slot, at });
        load.answers(u64::from(RATE), PATIENCE).await?;
    }
    let outcome = load.stop().await;
    let mut worst = Duration::ZERO;
    for kill in &kills {
        let next = next_answer(&outcome, kill).context("no answer after a kill")?;
        let failed = failures(&outcome, kill, next).count();
        scene.say(format_args!(
            "killed the worker of slot {} behind {}: {failed} requests failed, next answer after {:.1} ms",
            kill.slot,
            kill.target,
            (next - kill.at).as_secs_f64() * 1e3
        ));
        worst = worst.max(next - kill.at);
    }
    let answered = outcome.progress.answered;
    let failed = outcome.progress.failed;
    scene.say(format_args!(
        "{KILLS} kills: {answered} answered, {failed} failed, longest time to the next answer {worst:?}"
    ));
    // Each failure belongs to a kill: sent before there was another worker, over a connection that
    // the application had already.
    let explained: usize = kills
        .iter()
        .map(|kill| {
            let next = next_answer(&outcome, kill).unwrap_or(kill.at);
            failures(&outcome, kill, next).count()
        })
        .sum();
    assert_eq!(explained as u64, failed, "{:?}", outcome.failures.first());
    only_in_a_worker(&outcome);
    let totals = observer.totals();
    assert_eq!(totals.ready_transitions, 0);
    assert_eq!((totals.primary_restarts, totals.slot_replacements), (0, 0));
    let verdict = verify(&outcome.answers, &scene.database.rows(&orders).await?);
    assert_eq!(
        (verdict.lost, verdict.duplicated, verdict.wrong_conflicts),
        (0, 0, 0)
    );
    Ok(())
}

/// As in an eviction, or when somebody patches the pod by hand.
async fn a_slot_that_is_told_to_stop_hands_over_first(scene: Scene<'_>) -> anyhow::Result<()> {
    let shop = scene.open(&scene.example()?).await?;
    let observer = shop.observe().await?;
    let closed = shop.sidecar_connections_closed().await?;
    let load = shop.load(RATE, &Orders::new(run_name())).await?;
    load.answers(u64::from(RATE), PATIENCE).await?;
    let stopped = async {
        let pod = shop.pods().await?.remove(0);
        let slot = slots::active(&pod, SIDECAR).await?;
        let container = slots::container(&pod, SIDECAR, slot)?;
        processes::first(container)?.terminate()?;
        observer
            .wait("another container of the slot", PATIENCE, |record| {
                let pods = record.pods();
                let now = slots::container(pods.first()?, SIDECAR, slot).ok()?;
                (now.container_id != container.container_id && now.ready).then_some(())
            })
            .await?;
        let pod = shop.pods().await?.remove(0);
        assert_eq!(slots::active(&pod, SIDECAR).await?, slot.peer());
        load.answers(u64::from(RATE), PATIENCE).await
    };
    let stopped = stopped.await;
    let outcome = load.stop().await;
    stopped?;
    assert_eq!(outcome.progress.failed, 0, "{:?}", outcome.failures.first());
    assert_eq!(outcome.progress.connections_closed, 0);
    let closed = shop.sidecar_connections_closed().await? - closed;
    assert_eq!(closed, 0, "connections of the application were closed");
    assert_eq!(observer.totals().primary_restarts, 0);
    Ok(())
}

/// When the first answer to a request came that was sent through the same pod after a kill.
fn next_answer(outcome: &Outcome, kill: &Kill) -> Option<Instant> {
    let later = outcome
        .samples
        .iter()
        .filter(|sample| sample.target == kill.target && sample.due > kill.at);
    later.map(|sample| sample.answered()).min()
}

/// The requests that failed for a kill: they were sent before there was an answer again.
fn failures<'a>(
    outcome: &'a Outcome,
    kill: &'a Kill,
    next: Instant,
) -> impl Iterator<Item = &'a Failure> {
    outcome.failures.iter().filter(move |failure| {
        failure.target == kill.target && failure.sent < next && failure.failed >= kill.at
    })
}
