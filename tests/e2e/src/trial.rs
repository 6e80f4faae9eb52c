//! Swaps under load, and everything that is counted meanwhile.

use std::time::{Duration, Instant};

use anyhow::Context;

use crate::database::Database;
use crate::images::Image;
use crate::load::{Latency, Orders, Outcome, Progress as LoadProgress, verify};
use crate::observe::Observer;
use crate::progress::Progress;
use crate::report::{Latencies, Pods, Primary, Report, Requests, Stored, SwapTimes};
use crate::shop::Shop;
use crate::swap::Swap;

/// How often the state is said: in a terminal, and in a log.
const LOOKS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The images to swap to, one after the other.
    pub swaps: &'a [Image],
    /// Orders in a second.
    pub rate: u32,
    /// Load before the first swap, between two and after the last, in orders.
    pub pause: u64,
}

/// A trial's outcome.
#[derive(Debug)]
pub struct Trial {
    /// The figures.
    pub report: Report,
    /// Orders sent in a second.
    pub rate: f64,
    /// What failed, in words; the first few.
    pub failures: Vec<String>,
}

/// Runs a plan.
///
/// # Errors
/// When a swap does not come to its end, or figures cannot be had.
pub async fn run(
    shop: &Shop,
    database: &Database,
    plan: Plan<'_>,
    progress: &Progress,
) -> anyhow::Result<Trial> {
    let orders = Orders::new(run_name());
    let observer = shop.observe().await?;
    let closed_before = shop.sidecar_connections_closed().await?;
    let load = shop.load(plan.rate, &orders).await?;
    let mut swaps = Vec::new();
    let all = async {
        let patience = Duration::from_secs(60);
        load.answers(plan.pause, patience).await?;
        for (number, image) in plan.swaps.iter().enumerate() {
            let title = format!("swap {} of {}", number + 1, plan.swaps.len());
            progress.say(format_args!("{title}: {}", image.reference));
            let swap = follow(
                shop.swap(image, &observer),
                &title,
                &observer,
                progress,
                || load.progress(),
            )
            .await
            .with_context(|| title.clone())?;
            let took = swap.took().as_secs_f64();
            progress.say(format_args!(
                "{title}: done in {took:.1} s; {}",
                counts(load.progress())
            ));
            swaps.push(swap);
            load.answers(plan.pause, patience).await?;
        }
        anyhow::Ok(())
    };
    let done = all.await;
    let outcome = load.stop().await;
    done?;
    let closed = shop.sidecar_connections_closed().await? - closed_before;
    let rows = database.rows(&orders).await?;
    let verdict = verify(&outcome.answers, &rows);
    let totals = observer.totals();
    let LoadProgress {
        sent,
        answered,
        failed,
        connections_closed,
    } = outcome.progress;
    let report = Report {
        requests: Requests {
            sent,
            answered,
            failed,
            connections_closed: connections_closed + closed,
        },
        store: Stored {
            unique_keys_sent: outcome.unique_keys(),
            rows: verdict.rows,
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            wrong_conflicts: verdict.wrong_conflicts,
        },
        primary: Primary {
            restarts: totals.primary_restarts,
            container_ids_changed: totals.container_ids_changed,
        },
        pods: Pods {
            ready_transitions: totals.ready_transitions,
        },
        latency_ms: latencies(&outcome, &swaps),
        swaps: swaps.iter().map(times).collect(),
    };
    let failures = outcome.failures.iter().take(5).map(ToString::to_string);
    Ok(Trial {
        report,
        rate: outcome.rate(),
        failures: failures.collect(),
    })
}

/// A name that tells the keys of this run from those of earlier ones.
pub fn run_name() -> String {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.unwrap_or_default().as_millis();
    format!("run-{millis:x}")
}

/// Awaits a swap, and says how it stands: every phase of every pod, and the load's counts.
async fn follow<T>(
    swap: impl Future<Output = anyhow::Result<T>>,
    title: &str,
    observer: &Observer,
    progress: &Progress,
    load: impl Fn() -> LoadProgress,
) -> anyhow::Result<T> {
    let mut told = observer.phases().len();
    let mut changes = observer.changes();
    let mut swap = std::pin::pin!(swap);
    let look = match progress.is_terminal() {
        true => LOOKS.0,
        false => LOOKS.1,
    };
    let begin = Instant::now();
    let mut ticks = tokio::time::interval(look);
    ticks.reset();
    loop {
        tokio::select! {
            result = &mut swap => {
                tell(observer, &mut told, title, progress);
                return result;
            }
            Ok(()) = changes.changed() => tell(observer, &mut told, title, progress),
            _ = ticks.tick() => {
                let since = begin.elapsed().as_secs_f64();
                progress.pass(format_args!("{title}: {since:.1} s; {}", counts(load())));
            }
        }
    }
}

/// Says the phases that were seen since.
fn tell(observer: &Observer, told: &mut usize, title: &str, progress: &Progress) {
    let phases = observer.phases();
    for change in phases.iter().skip(*told) {
        progress.say(format_args!("{title}: {} {}", change.pod, change.phase));
    }
    *told = phases.len();
}

fn counts(progress: LoadProgress) -> String {
    let LoadProgress {
        sent,
        answered,
        failed,
        connections_closed,
    } = progress;
    format!(
        "{sent} sent, {answered} answered, {failed} failed, {connections_closed} connections closed"
    )
}

fn latencies(outcome: &Outcome, swaps: &[Swap]) -> Latencies {
    let within = |due: Instant| swaps.iter().any(|swap| swap.contains(due));
    let (inside, outside): (Vec<_>, Vec<_>) = outcome
        .samples
        .iter()
        .partition(|sample| within(sample.due));
    Latencies {
        outside: Latency::of(outside.into_iter().copied()),
        inside: Latency::of(inside.into_iter().copied()),
    }
}

/// The times of a swap, for a report.
pub fn times(swap: &Swap) -> SwapTimes {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    SwapTimes {
        from: swap.from.clone(),
        to: swap.to.clone(),
        total_ms: millis(swap.took()),
        phases_ms: swap
            .phases
            .iter()
            .map(|(phase, time)| (phase.clone(), millis(*time)))
            .collect(),
    }
}
