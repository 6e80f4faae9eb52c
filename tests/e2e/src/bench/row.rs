//! A row: one shape of load, and swaps under it.

use anyhow::Context;
use outrigger_bench::record::Shape;
use outrigger_control::{Phase, layout};
use serde_json::json;

use super::measure::{Clock, Load, Measured, PAUSE, measure};
use super::{Figures, Ground, Images, Latencies, Window};
use crate::observe::{Observer, PhaseChange};
use crate::progress::Progress;
use crate::shop::SIDECAR;
use crate::site::Site;
use crate::swap::Swap;
use crate::trial;

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
    /// Whether it numbers requests from a count in memory.
    pub numbers: bool,
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
pub const ROWS: [Row; 11] = [
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
    row("upgraded", Shape::Upgraded, 2000, 160, 0),
    Row {
        numbers: true,
        ..row("exclusive", Shape::KeepAlive, 2000, 32, 0)
    },
];

const fn row(name: &'static str, shape: Shape, rate: u32, connections: usize, idle: usize) -> Row {
    Row {
        name,
        shape,
        rate,
        connections,
        idle,
        way: Way::Port,
        numbers: false,
    }
}

impl Way {
    fn target(self) -> String {
        match self {
            Way::Port => format!("127.0.0.1:{}", layout::DEFAULT_FUNCTION_PORT),
            Way::UnixSocket => {
                let file = layout::socket_file(SIDECAR);
                format!("{}/{SIDECAR}/{file}", layout::SOCKETS_DIR)
            }
        }
    }
}

impl Row {
    /// Its load.
    pub(super) fn load(&self) -> Load {
        Load {
            target: self.way.target(),
            shape: self.shape,
            rate: self.rate,
            connections: self.connections,
            idle: self.idle,
        }
    }
}

/// Runs a row.
///
/// # Errors
/// When a swap does not come to its end, or figures cannot be had.
pub async fn run(
    site: &Site,
    images: &Images,
    row: &Row,
    swaps: usize,
    progress: &Progress,
) -> anyhow::Result<Figures> {
    let ground = Ground::open(site, images.clone(), json!({"numbers": row.numbers}));
    let ground = &progress.step("a fresh pod", ground).await?;
    let act = async |observer: &Observer| swap(ground, observer, row.name, swaps, progress).await;
    let (measured, done) = measure(site, &ground.shop, &row.load(), act).await?;
    let Measured {
        ran,
        verdict,
        numbers,
        totals,
        phases,
        endpoint_slice_writes,
        clock,
    } = measured;
    let verdict = match row.numbers {
        true => verdict.and(numbers.context("no request got a number")?),
        false => verdict,
    };
    let windows: Vec<_> = done
        .iter()
        .flat_map(|swap| windows(swap, &phases, clock))
        .collect();
    Ok(Figures {
        row: row.name.to_owned(),
        rate: ran.rate(),
        sent: ran.outcome.sent,
        answered: ran.outcome.answered,
        failed: ran.failed(),
        resent: ran.outcome.resent,
        verdict,
        closed: ran.outcome.closed,
        primary_restarts: totals.primary_restarts + totals.container_ids_changed,
        ready_transitions: totals.ready_transitions,
        endpoint_slice_writes,
        latency_ms: Latencies::of(&ran.samples, &windows),
        swaps: done.iter().map(trial::times).collect(),
        failures: ran.first_failures(),
    })
}

/// Swaps from image to image, each time after a pause.
///
/// # Errors
/// When a swap does not come to its end.
pub(super) async fn swap(
    ground: &Ground,
    observer: &Observer,
    name: &str,
    swaps: usize,
    progress: &Progress,
) -> anyhow::Result<Vec<Swap>> {
    let shop = &ground.shop;
    let mut done = Vec::new();
    for number in 1..=swaps {
        let current = shop.sidecars().get(SIDECAR).await?.spec.image;
        let mut images = ground.images.iter();
        let at = images.position(|image| image.reference == current);
        let next = &ground.images[(at.unwrap_or(0) + 1) % ground.images.len()];
        let swap = shop.swap(next, observer).await;
        let swap = swap.with_context(|| format!("swap {number}"))?;
        let took = swap.took().as_secs_f64();
        progress.say(format_args!(
            "{name}: swap {number} of {swaps}: {took:.1} s"
        ));
        done.push(swap);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(done)
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
