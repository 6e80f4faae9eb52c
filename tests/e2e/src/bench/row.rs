//! A row: one shape of load, and swaps under it.

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
use outrigger_control::{Phase, Slot, layout};
use tokio::task::JoinHandle;

use super::{Figures, Ground, Latencies, Window};
use crate::observe::PhaseChange;
use crate::progress::Progress;
use crate::shop::{APPLICATION, SIDECAR};
use crate::site::Site;
use crate::swap::Swap;
use crate::{fetch, processes, slots, trial};

/// Time under load before the first swap, between two and after the last.
const PAUSE: Duration = Duration::from_secs(3);

/// One shape of load.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// The requests.
    pub shape: Shape,
    /// Requests in a second.
    pub rate: u32,
    /// Connections.
    pub connections: usize,
    /// Idle ones besides.
    pub idle: usize,
    /// How the function is reached.
    pub way: Way,
}

/// How the load reaches the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Through its port on localhost.
    Port,
    /// Through its Unix socket.
    UnixSocket,
}

/// The rows. Uploads of 1 MB and answers of 3 s come at the rate that two cores bear.
pub const ROWS: [Row; 9] = [
    row("keep-alive", Shape::KeepAlive, 2000, 32, 0),
    row("new-connection", Shape::NewConnection, 2000, 32, 0),
    row("http2", Shape::Http2, 2000, 8, 0),
    Row {
        way: Way::UnixSocket,
        ..row("unix-socket", Shape::KeepAlive, 2000, 32, 0)
    },
    row("slow-answers", Shape::SlowAnswer, 200, 800, 0),
    row("uploads", Shape::Upload, 20, 32, 0),
    row("split-heads", Shape::SplitHead, 2000, 96, 0),
    row("pipelined", Shape::Pipelined, 2000, 16, 0),
    row("idle-connections", Shape::KeepAlive, 2000, 32, 10_000),
];

const fn row(name: &'static str, shape: Shape, rate: u32, connections: usize, idle: usize) -> Row {
    Row {
        name,
        shape,
        rate,
        connections,
        idle,
        way: Way::Port,
    }
}

impl Way {
    /// The target of the load.
    pub fn target(self) -> String {
        match self {
            Way::Port => format!("127.0.0.1:{}", layout::DEFAULT_FUNCTION_PORT),
            Way::UnixSocket => {
                let file = layout::socket_file(SIDECAR);
                format!("{}/{SIDECAR}/{file}", layout::SOCKETS_DIR)
            }
        }
    }
}

/// Runs a row.
///
/// # Errors
/// When a swap does not come to its end, or figures cannot be had.
pub async fn run(
    site: &Site,
    ground: &Ground,
    row: &Row,
    swaps: usize,
    progress: &Progress,
) -> anyhow::Result<Figures> {
    let shop = &ground.shop;
    let pod = shop.pods().await?.pop().context("no pod")?;
    let control = format!("http://{}:{PORT}", slots::address(&pod)?);
    let clock = Clock::now()?;
    let plan = Plan {
        target: row.way.target(),
        shape: row.shape,
        rate: row.rate,
        connections: row.connections,
        idle: row.idle,
        // Above those of all earlier runs.
        first: clock.since_1970,
    };
    let slices = Slices::watch(site.cluster.objects(shop.namespace()));
    let observer = shop.observe().await?;
    let started = fetch::post(&format!("{control}/run"), serde_json::to_vec(&plan)?).await?;
    ensure!(
        started.status.is_success(),
        "the load does not start: {}",
        started.text()
    );
    let begin = Instant::now();
    let writes_before = slices.count();
    let done = async {
        tokio::time::sleep(PAUSE).await;
        let mut done = Vec::new();
        for number in 1..=swaps {
            let current = shop.sidecars().get(SIDECAR).await?.spec.image;
            let at = ground
                .images
                .iter()
                .position(|image| image.reference == current);
            let next = &ground.images[(at.unwrap_or(0) + 1) % ground.images.len()];
            let swap = shop.swap(next, &observer).await;
            let swap = swap.with_context(|| format!("swap {number}"))?;
            let took = swap.took().as_secs_f64();
            progress.say(format_args!(
                "{}: swap {number} of {swaps}: {took:.1} s",
                row.name
            ));
            done.push(swap);
            tokio::time::sleep(PAUSE).await;
        }
        anyhow::Ok(done)
    };
    let done = done.await;
    let took = begin.elapsed().as_secs_f64();
    let run_url = format!("{control}/run");
    let outcome = fetch::send(Method::DELETE, &run_url, &[], Default::default()).await?;
    let outcome: Outcome = outcome.json()?;
    let done = done?;
    let samples = Sample::decode(&fetch::get(&format!("{control}/samples")).await?.body);
    let failed: Vec<_> = outcome.failures.iter().map(|failure| failure.id).collect();
    let verdict = Verdict::of(plan.first, outcome.end, &failed, &ledger(&pod)?);
    let phases = observer.phases();
    let windows: Vec<_> = done
        .iter()
        .flat_map(|swap| windows(swap, &phases, clock))
        .collect();
    let totals = observer.totals();
    let failures = outcome.failures.iter().take(5);
    Ok(Figures {
        row: row.name,
        rate: outcome.sent as f64 / took,
        sent: outcome.sent,
        answered: outcome.answered,
        failed: failed.len() as u64,
        verdict,
        closed: outcome.closed,
        primary_restarts: totals.primary_restarts + totals.container_ids_changed,
        ready_transitions: totals.ready_transitions,
        endpoint_slice_writes: slices.count() - writes_before,
        latency_ms: Latencies::of(&samples, &windows),
        swaps: done.iter().map(trial::times).collect(),
        failures: failures.map(|failure| failure.detail.clone()).collect(),
    })
}

/// The ids in the ledger of a pod's slots, read as this machine sees their files.
fn ledger(pod: &Pod) -> anyhow::Result<Vec<u64>> {
    let slot = processes::first(slots::container(pod, SIDECAR, Slot::A)?)
        .or_else(|_| processes::first(slots::container(pod, SIDECAR, Slot::B)?))?;
    let pid = slot.pid;
    let path = format!("/proc/{pid}/root{}/{}", layout::SHARED_DIR, ledger::FILE);
    let content = std::fs::read(&path).with_context(|| format!("cannot read {path}"))?;
    Ok(ledger::ids(&content))
}

/// The same moment on both clocks: this process's, and the one that it shares with the load.
#[derive(Clone, Copy)]
struct Clock {
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

    fn nanoseconds(self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.here).as_nanos();
        self.since_1970 + u64::try_from(since).unwrap_or_default()
    }
}

/// The phases of a swap of one pod, one after the other.
fn windows(swap: &Swap, seen: &[PhaseChange], clock: Clock) -> Vec<Window> {
    let mut windows = Vec::new();
    let mut name = "Preflight".to_owned();
    let mut begin = swap.begin;
    let within = seen.iter().filter(|change| swap.contains(change.at));
    let steps = within.map(|change| (change.at, change.phase));
    for (at, phase) in steps.chain([(swap.end, Phase::Rest)]) {
        windows.push(Window {
            name: std::mem::replace(&mut name, phase.to_string()),
            begin_ns: clock.nanoseconds(begin),
            end_ns: clock.nanoseconds(at),
        });
        begin = at;
    }
    windows
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
