//! One load on one pod: what is done to the pod meanwhile, and everything that is counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};
use futures::StreamExt;
use http::Method;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::runtime::watcher::{self, Event, watcher};
use outrigger_bench::control::PORT;
use outrigger_bench::ledger::{self, Verdict};
use outrigger_bench::record::{Outcome, Plan, Sample, Shape};
use outrigger_control::{Slot, layout};
use tokio::task::JoinHandle;

use crate::observe::{Observer, PhaseChange, Totals};
use crate::shop::{APPLICATION, SIDECAR, Shop};
use crate::site::Site;
use crate::{fetch, processes, slots};

/// Time under load before what is done, between two of it and after the last.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// Longest time for 10,000 connections to be opened, or used once.
const PATIENCE: Duration = Duration::from_secs(120);

/// A load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// `HOST:PORT`, or the path of a Unix socket.
    pub(super) target: String,
    /// The requests.
    pub(super) shape: Shape,
    /// Requests in a second.
    pub(super) rate: u32,
    /// Connections.
    pub(super) connections: usize,
    /// Idle ones besides.
    pub(super) idle: usize,
}

/// A run of a load's container.
#[derive(Debug)]
pub(super) struct Run {
    control: String,
    clock: Clock,
    begin: Instant,
    idle: usize,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    /// How long it lasted.
    pub(super) took: Duration,
    /// The first id.
    pub(super) first: u64,
    /// Counts, and what failed.
    pub(super) outcome: Outcome,
    /// Connections that were idle until its end.
    pub(super) idle: u64,
    /// Every answer but those over idle connections.
    pub(super) samples: Vec<Sample>,
}

/// What was counted of a pod under load.
#[derive(Debug)]
pub(super) struct Measured {
    /// The load's counts.
    pub(super) ran: Ran,
    /// What answers and ledger say together.
    pub(super) verdict: Verdict,
    /// What the numbers say that requests got, if they did.
    pub(super) numbers: Option<Verdict>,
    /// The API server's counts.
    pub(super) totals: Totals,
    /// The phases of swaps that were seen.
    pub(super) phases: Vec<PhaseChange>,
    /// Writes of the EndpointSlices of the application's Service.
    pub(super) endpoint_slice_writes: u64,
    /// Both clocks.
    pub(super) clock: Clock,
}

impl Run {
    /// Starts a load in its pod.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(pod: &Pod, load: &Load) -> anyhow::Result<Run> {
        let control = format!("http://{}:{PORT}", slots::address(pod)?);
        let clock = Clock::now()?;
        let plan = Plan {
            target: load.target.clone(),
            shape: load.shape,
            rate: load.rate,
            connections: load.connections,
            idle: load.idle,
            // Above those of all earlier runs.
            first: clock.since_1970,
        };
        let url = format!("{control}/run");
        let json = [("content-type", "application/json")];
        let plan = serde_json::to_vec(&plan)?;
        let started = fetch::send_within(PATIENCE, Method::POST, &url, &json, plan.into()).await?;
        ensure!(
            started.status.is_success(),
            "the load does not start: {}",
            started.text()
        );
        Ok(Run {
            control,
            clock,
            begin: Instant::now(),
            idle: load.idle,
        })
    }

    /// Both clocks, as they were when it started.
    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// Lets the requests under way end, and gives what happened to all.
    ///
    /// # Errors
    /// When the load does not tell.
    pub(super) async fn stop(self) -> anyhow::Result<Ran> {
        let took = self.begin.elapsed();
        let end = self.clock.nanoseconds(Instant::now());
        let url = format!("{}/run", self.control);
        let stopped =
            fetch::send_within(PATIENCE, Method::DELETE, &url, &[], Default::default()).await?;
        let samples = fetch::get(&format!("{}/samples", self.control)).await?;
        let mut samples = Sample::decode(&samples.body);
        // What comes later are the requests of idle connections, all at once.
        samples.retain(|sample| sample.due_ns < end);
        Ok(Ran {
            took,
            first: self.clock.since_1970,
            idle: self.idle as u64,
            outcome: stopped.json()?,
            samples,
        })
    }
}

impl Ran {
    /// Requests that were not answered rightly.
    pub(super) fn failed(&self) -> u64 {
        self.outcome.failures.len() as u64
    }

    /// Requests in a second that were sent until its end.
    pub(super) fn rate(&self) -> f64 {
        let sent = self.outcome.sent.saturating_sub(self.idle);
        sent as f64 / self.took.as_secs_f64()
    }

    /// The first failures in words.
    pub(super) fn first_failures(&self) -> Vec<String> {
        let first = self.outcome.failures.iter().take(5);
        first.map(|failure| failure.detail.clone()).collect()
    }

    /// Counts and the first failures in words.
    fn told(&self) -> String {
        let Outcome {
            sent,
            answered,
            resent,
            closed,
            ..
        } = self.outcome;
        let failed = match self.failed() {
            0 => "0".to_owned(),
            failed => format!("{failed} ({}, …)", self.first_failures().join(", ")),
        };
        format!(
            "requests sent: {sent}, answered: {answered}, resent: {resent}, failed: {failed}; \
             connections closed: {closed}"
        )
    }

    /// The longest time without an answer.
    pub(super) fn longest_gap_ns(&self) -> u64 {
        let mut answered: Vec<_> = self.samples.iter().map(Sample::answered_ns).collect();
        answered.sort_unstable();
        let gaps = answered.windows(2).map(|two| two[1] - two[0]);
        gaps.max().unwrap_or_default()
    }

    /// How long after a moment the first answer came to a request that was due later, if any came.
    pub(super) fn next_answer_ns(&self, moment_ns: u64) -> Option<u64> {
        let later = self
            .samples
            .iter()
            .filter(|sample| sample.due_ns > moment_ns);
        let answered = later.map(Sample::answered_ns).min();
        answered.map(|answered| answered - moment_ns)
    }
}

/// Loads the one pod of the shop, does something to it, and counts.
///
/// # Errors
/// With what `act` fails with, or when figures cannot be had.
pub(super) async fn measure<T>(
    site: &Site,
    shop: &Shop,
    load: &Load,
    act: impl AsyncFnOnce(&Observer) -> anyhow::Result<T>,
) -> anyhow::Result<(Measured, T)> {
    let pod = shop.pods().await?.pop().context("no pod")?;
    let slices = Slices::watch(site.cluster.objects(shop.namespace()));
    let observer = shop.observe().await?;
    let run = Run::start(&pod, load).await?;
    let clock = run.clock();
    let writes_before = slices.count();
    tokio::time::sleep(PAUSE).await;
    let acted = act(&observer).await;
    let ran = run.stop().await;
    // What failed until then may be why.
    let acted = acted.with_context(|| match &ran {
        Ok(ran) => ran.told(),
        Err(error) => format!("{error:#}"),
    })?;
    let ran = ran?;
    // Its containers are others now.
    let pod = shop.pods().await?.pop().context("no pod")?;
    let failures = ran.outcome.failures.iter();
    let failed: Vec<_> = failures.map(|failure| failure.id).collect();
    let requests = ledger(&pod, ledger::FILE)?.context("no ledger")?;
    let verdict = Verdict::of(ran.first, ran.outcome.end, &failed, &requests);
    let numbers = ledger(&pod, ledger::NUMBERS)?;
    let numbers = numbers.map(|numbers| Verdict::of_numbers(requests.len() as u64, &numbers));
    let measured = Measured {
        ran,
        verdict,
        numbers,
        totals: observer.totals(),
        phases: observer.phases(),
        endpoint_slice_writes: slices.count() - writes_before,
        clock,
    };
    Ok((measured, acted))
}

/// The ids in a ledger of a pod's slots, if there is one, read as this machine sees their files.
fn ledger(pod: &Pod, file: &str) -> anyhow::Result<Option<Vec<u64>>> {
    let slot = processes::first(slots::container(pod, SIDECAR, Slot::A)?)
        .or_else(|_| processes::first(slots::container(pod, SIDECAR, Slot::B)?))?;
    let pid = slot.pid;
    let path = format!("/proc/{pid}/root{}/{file}", layout::SHARED_DIR);
    match std::fs::read(&path) {
        Ok(content) => Ok(Some(ledger::ids(&content))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(format!("cannot read {path}")),
    }
}

/// The same moment on both clocks: this process's, and the one that it shares with the load.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    here: Instant,
    since_1970: u64,
}

impl Clock {
    fn now() -> anyhow::Result<Clock> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        Ok(Clock {
            here: Instant::now(),
            since_1970: since.as_nanos().try_into()?,
        })
    }

    /// A moment in nanoseconds since 1970.
    pub(super) fn nanoseconds(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.here).as_nanos();
        self.since_1970 + u64::try_from(since).unwrap_or_default()
    }
}

/// Counts the writes of the application's EndpointSlices. It ends when it is dropped.
struct Slices {
    writes: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Slices {
    fn watch(api: Api<EndpointSlice>) -> Slices {
        let label = format!("kubernetes.io/service-name={APPLICATION}");
        let config = watcher::Config::default().labels(&label);
        let writes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&writes);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(watcher(api, config));
            while let Some(event) = events.next().await {
                if matches!(event, Ok(Event::Apply(_) | Event::Delete(_))) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Slices { writes, task }
    }

    fn count(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

impl Drop for Slices {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use outrigger_bench::record::Failure;

    use super::*;

    #[test]
    fn counts_and_first_failures_are_told() {
        let failure = |detail: &str| Failure {
            id: 0,
            sent_ns: 0,
            failed_ns: 0,
            connect: false,
            detail: detail.to_owned(),
        };
        let ran = |failures| Ran {
            took: PAUSE,
            first: 0,
            outcome: Outcome {
                sent: 9,
                answered: 7,
                resent: 1,
                closed: 3,
                failures,
                ..Outcome::default()
            },
            idle: 0,
            samples: Vec::new(),
        };
        let told = |failed: &str| {
            format!(
                "requests sent: 9, answered: 7, resent: 1, failed: {failed}; connections closed: 3"
            )
        };
        assert_eq!(ran(Vec::new()).told(), told("0"));
        let failures = vec![failure("no answer"), failure("status 503")];
        assert_eq!(ran(failures).told(), told("2 (no answer, status 503, …)"));
    }
}
