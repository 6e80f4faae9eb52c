//! `kill -9` under load: of the worker that is active, and of a whole slot.

use std::time::{Duration, Instant};

use anyhow::Context;
use k8s_openapi::api::core::v1::Pod;
use outrigger_bench::ledger::Verdict;
use outrigger_bench::record::Failure;
use serde::{Deserialize, Serialize};

use super::measure::{Measured, Ran, measure};
use super::ways::is_ready;
use super::{Ground, ROWS};
use crate::observe::Observer;
use crate::progress::Progress;
use crate::shop::SIDECAR;
use crate::site::Site;
use crate::{processes, slots};

/// Longest wait for the pod's condition to come back.
const PATIENCE: Duration = Duration::from_secs(90);

/// Time under load after a kill.
const AFTER: Duration = Duration::from_secs(3);

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Victim {
    /// The process that serves.
    Worker,
    /// Process 1 of its container, and all others with it.
    Slot,
}

/// What kills of one kind came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KillFigures {
    /// Name of the row.
    pub row: String,
    /// What was killed.
    pub victim: Victim,
    /// Requests in a second that were sent.
    pub rate: f64,
    /// Requests that were sent.
    pub sent: u64,
    /// By the ids in the ledger.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// Failures that belong to no kill.
    pub unexplained: u64,
    /// Connects that failed.
    pub connect_errors: u64,
    /// Each kill.
    pub kills: Vec<Kill>,
    /// Restarts of the load's container.
    pub primary_restarts: u64,
    /// Changes of the pod's condition Ready.
    pub ready_transitions: u64,
    /// The first failures in words.
    pub failures: Vec<String>,
}

/// One kill.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kill {
    /// From the kill to the first answer of a request that was due later.
    pub next_answer_ms: f64,
    /// Requests that failed: sent before that answer, and not over before the kill.
    pub failed: u64,
    /// How long the pod was not Ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unready_ms: Option<f64>,
}

/// A kill, as it is done.
struct Blow {
    at: Instant,
    unready: Option<Duration>,
}

/// Kills the active worker again and again.
///
/// # Errors
/// When there is none, or figures cannot be had.
pub async fn workers(
    site: &Site,
    ground: &Ground,
    kills: usize,
    progress: &Progress,
) -> anyhow::Result<KillFigures> {
    let act = async |_: &Observer| {
        let mut blows = Vec::new();
        for number in 1..=kills {
            let (pod, slot) = active(ground).await?;
            let worker = processes::worker(slots::container(&pod, SIDECAR, slot)?)?;
            let at = Instant::now();
            worker.kill()?;
            progress.say(format_args!(
                "worker of slot {slot} killed, {number} of {kills}"
            ));
            blows.push(Blow { at, unready: None });
            tokio::time::sleep(AFTER).await;
        }
        Ok(blows)
    };
    let (measured, blows) = measure(site, &ground.shop, &ROWS[0].load(), act).await?;
    figures("killed-workers", Victim::Worker, &measured, &blows)
}

/// Kills process 1 of the active slot, once.
///
/// # Errors
/// When there is none, or the pod does not become Ready again.
pub async fn slot(site: &Site, ground: &Ground) -> anyhow::Result<KillFigures> {
    let act = async |observer: &Observer| {
        let (pod, slot) = active(ground).await?;
        let first = processes::first(slots::container(&pod, SIDECAR, slot)?)?;
        let at = Instant::now();
        first.kill()?;
        let lost = observer.wait("a pod that is not Ready", PATIENCE, |record| {
            (record.totals().ready_transitions > 0).then(Instant::now)
        });
        let lost = lost.await?;
        let found = observer.wait("the pod Ready again", PATIENCE, |record| {
            record.pods().iter().all(is_ready).then(Instant::now)
        });
        let unready = Some(found.await? - lost);
        tokio::time::sleep(AFTER).await;
        Ok(vec![Blow { at, unready }])
    };
    let (measured, blows) = measure(site, &ground.shop, &ROWS[0].load(), act).await?;
    figures("killed-slots", Victim::Slot, &measured, &blows)
}

async fn active(ground: &Ground) -> anyhow::Result<(Pod, outrigger_control::Slot)> {
    let pod = ground.shop.pods().await?.pop().context("no pod")?;
    let slot = slots::active(&pod, SIDECAR).await?;
    Ok((pod, slot))
}

fn figures(
    row: &str,
    victim: Victim,
    measured: &Measured,
    blows: &[Blow],
) -> anyhow::Result<KillFigures> {
    let ran = &measured.ran;
    let mut kills = Vec::new();
    for blow in blows {
        let at = measured.clock.nanoseconds(blow.at);
        kills.push(kill(ran, at, blow.unready).context("no answer after a kill")?);
    }
    let failures = &ran.outcome.failures;
    let explained: u64 = kills.iter().map(|kill| kill.failed).sum();
    Ok(KillFigures {
        row: row.to_owned(),
        victim,
        rate: ran.rate(),
        sent: ran.outcome.sent,
        verdict: measured.verdict,
        unexplained: ran.failed() - explained,
        connect_errors: failures.iter().filter(|failure| failure.connect).count() as u64,
        kills,
        primary_restarts: measured.totals.primary_restarts,
        ready_transitions: measured.totals.ready_transitions,
        failures: ran.first_failures(),
    })
}

/// What a kill came to, unless nothing was answered after it.
fn kill(ran: &Ran, at_ns: u64, unready: Option<Duration>) -> Option<Kill> {
    let next = ran.next_answer_ns(at_ns)?;
    let of_this = |failure: &&Failure| failure.failed_ns >= at_ns && failure.sent_ns < at_ns + next;
    Some(Kill {
        next_answer_ms: milliseconds(Duration::from_nanos(next)),
        failed: ran.outcome.failures.iter().filter(of_this).count() as u64,
        unready_ms: unready.map(milliseconds),
    })
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

impl KillFigures {
    /// Whether a kill cost only what was in the killed process.
    pub fn is_good(&self) -> bool {
        let unready = match self.victim {
            Victim::Worker => self.ready_transitions,
            Victim::Slot => 0,
        };
        let Verdict {
            lost, duplicated, ..
        } = self.verdict;
        let zeros = [
            lost,
            duplicated,
            self.unexplained,
            self.connect_errors,
            self.primary_restarts,
            unready,
        ];
        zeros.iter().all(|count| *count == 0)
            && self.kills.iter().all(|kill| kill.next_answer_ms < 50.0)
    }

    /// Adds what was found on another pod.
    pub fn and(mut self, other: KillFigures) -> KillFigures {
        self.sent += other.sent;
        self.verdict.lost += other.verdict.lost;
        self.verdict.duplicated += other.verdict.duplicated;
        self.verdict.unknown += other.verdict.unknown;
        self.unexplained += other.unexplained;
        self.connect_errors += other.connect_errors;
        self.kills.extend(other.kills);
        self.primary_restarts += other.primary_restarts;
        self.ready_transitions += other.ready_transitions;
        self.failures.extend(other.failures);
        self
    }
}

#[cfg(test)]
mod tests {
    use outrigger_bench::record::{Outcome, Sample};

    use super::*;

    #[test]
    fn a_failure_belongs_to_the_kill_during_which_it_was_sent() {
        let ms = 1_000_000;
        let sample = |due: u64, latency: u64| Sample {
            due_ns: due * ms,
            latency_ns: latency * ms,
        };
        let failure = |sent: u64, failed: u64| Failure {
            id: 0,
            sent_ns: sent * ms,
            failed_ns: failed * ms,
            connect: false,
            detail: String::new(),
        };
        let ran = Ran {
            took: Duration::from_secs(1),
            first: 0,
            idle: 0,
            outcome: Outcome {
                // Before the kill at 100, in it twice, and after the next answer.
                failures: vec![
                    failure(50, 60),
                    failure(99, 101),
                    failure(105, 106),
                    failure(130, 131),
                ],
                ..Outcome::default()
            },
            samples: vec![
                sample(90, 1),
                sample(99, 30),
                sample(104, 16),
                sample(110, 5),
            ],
        };
        let found = kill(&ran, 100 * ms, None);
        let found = found.map(|kill| (kill.next_answer_ms, kill.failed));
        assert_eq!(found, Some((15.0, 2)));
        assert!(kill(&ran, 200 * ms, None).is_none());
    }
}
