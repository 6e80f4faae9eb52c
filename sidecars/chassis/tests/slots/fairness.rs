//! What one application notices of another that asks for ten times its share of a function pod.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use outrigger_control::{Limits, Slot};
use tokio::task::JoinSet;

use crate::client::Connection;
use crate::pod::Pod;

const QUIET: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);

/// Requests per second of the application that is measured, over so many connections.
const RATE: u32 = 500;
const CONNECTIONS: u32 = 25;
/// What the other one may: requests per second and at a time. It tries ten times as much of both.
const SHARE: u32 = 100;
const AT_ONCE: u32 = 10;
const TIMES: u32 = 10;
/// More than it can send: each connection asks again as soon as it was answered.
const UNBOUNDED: u32 = 1_000_000;

/// A short run as a test, and the measurement for whoever asks for it by `--ignored`.
pub(crate) fn trials() -> Vec<Trial> {
    let run = |name, greed, windows, window| {
        crate::trial(name, move || {
            compare(greed, windows, Duration::from_secs(window))
        })
    };
    vec![
        run(
            "a_greedy_application_costs_another_no_answer",
            UNBOUNDED,
            1,
            1,
        ),
        run("bench_fairness_ten_times", SHARE * TIMES, 10, 3).with_ignored_flag(true),
        run("bench_fairness_without_pause", UNBOUNDED, 10, 3).with_ignored_flag(true),
    ]
}

/// Latencies of one application, with and without the other that sends `greed` requests per second,
/// in windows that alternate.
async fn compare(greed: u32, windows: usize, window: Duration) {
    let pod = Pod::shared_by(&[
        (
            "greedy",
            Limits {
                max_body_bytes: None,
                max_concurrent_requests: AT_ONCE,
                requests_per_second: Some(SHARE),
            },
        ),
        (
            "quiet",
            Limits {
                max_body_bytes: None,
                max_concurrent_requests: 100,
                requests_per_second: None,
            },
        ),
    ])
    .await;
    pod.name_tenants(&[("quiet", QUIET), ("greedy", GREEDY)]);
    let mut clients = Clients::connect(QUIET, pod.port, CONNECTIONS).await;
    let mut greedy = Clients::connect(GREEDY, pod.port, AT_ONCE * TIMES).await;
    let (mut alone, mut beside, mut refused) = (Vec::new(), Vec::new(), 0);
    for _ in 0..windows {
        alone.push(clients.send(RATE, window).await);
        let (quiet, other) = tokio::join!(clients.send(RATE, window), greedy.send(greed, window));
        assert!(other.refused > 0, "the greedy application was not refused");
        refused += other.refused;
        beside.push(quiet);
    }
    for window in alone.iter().chain(&beside) {
        assert_eq!(window.refused, 0, "the quiet application was refused");
    }
    report("alone", &alone);
    report("beside", &beside);
    let ratio = |quantile| {
        let of = |windows: &[Window]| median(windows.iter().map(|window| window.at(quantile)));
        of(&beside).as_secs_f64() / of(&alone).as_secs_f64()
    };
    println!("the other was refused {refused} times");
    println!("ratio p50 {:.2}, p99 {:.2}", ratio(500), ratio(990));
    let report = pod.report(Slot::A).await.unwrap();
    assert_eq!(report.traffic.server_errors, 0);
}

/// Answers of one window.
struct Window {
    /// From the time at which a request was due to its answer, sorted.
    latencies: Vec<Duration>,
    refused: u64,
}

impl Window {
    /// A quantile in thousandths.
    fn at(&self, quantile: usize) -> Duration {
        self.latencies[(self.latencies.len() - 1) * quantile / 1000]
    }
}

fn median(values: impl Iterator<Item = Duration>) -> Duration {
    let mut values: Vec<_> = values.collect();
    values.sort();
    values[values.len() / 2]
}

fn report(name: &str, windows: &[Window]) {
    for (quantile, label) in [(500, "p50"), (990, "p99")] {
        let values = || windows.iter().map(|window| window.at(quantile));
        println!(
            "{name}: {label} {:.2?} (windows from {:.2?} to {:.2?})",
            median(values()),
            values().min().unwrap_or_default(),
            values().max().unwrap_or_default(),
        );
    }
}

/// Kept connections of one application.
struct Clients(Vec<Connection>);

impl Clients {
    async fn connect(source: Ipv4Addr, port: u16, count: u32) -> Clients {
        let mut connections = Vec::new();
        for _ in 0..count {
            connections.push(Connection::open_from(source, port).await.unwrap());
        }
        Clients(connections)
    }

    /// Sends so many requests per second for a while, each when it is due, whatever became of the
    /// others on other connections.
    async fn send(&mut self, rate: u32, window: Duration) -> Window {
        let count = u32::try_from(self.0.len()).unwrap();
        let (begun, refused) = (Instant::now(), Arc::new(AtomicU64::new(0)));
        let mut tasks = JoinSet::new();
        for (number, mut connection) in (0..count).zip(self.0.drain(..)) {
            let refused = Arc::clone(&refused);
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                for turn in 0_u32.. {
                    let due = Duration::from_secs(1) * (turn * count + number) / rate;
                    if due.max(begun.elapsed()) >= window {
                        break;
                    }
                    tokio::time::sleep_until((begun + due).into()).await;
                    match connection.get("/", "fair").await {
                        Ok(_) => latencies.push(begun.elapsed() - due),
                        Err(error) if error.contains(" 429 ") => {
                            refused.fetch_add(1, Relaxed);
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                (connection, latencies)
            });
        }
        let mut latencies = Vec::new();
        for (connection, some) in tasks.join_all().await {
            self.0.push(connection);
            latencies.extend(some);
        }
        latencies.sort();
        Window {
            latencies,
            refused: refused.load(Relaxed),
        }
    }
}
