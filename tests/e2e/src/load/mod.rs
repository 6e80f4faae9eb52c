//! Orders at a fixed rate, whatever becomes of those before (an open loop), over connections that
//! are kept. A latency counts from the moment at which the order was due, so that an order that had
//! to wait for others tells of that wait (no coordinated omission). Nothing is ever retried.

mod connection;
mod latency;
mod orders;
mod record;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::connection::Connection;
pub use self::latency::{Latency, Sample};
pub use self::orders::{Answer, Orders, Row, Verdict, verify};
pub use self::record::{Failure, FailureKind, Outcome, Progress};

/// How the load is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the application is; connections are spread over the addresses in turn.
    pub targets: Vec<SocketAddr>,
    /// Orders in a second.
    pub rate: u32,
    /// Connections, each with at most one order at a time.
    pub connections: usize,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

/// What the workers share.
#[derive(Debug)]
struct Shared {
    settings: Settings,
    orders: Orders,
    start: Instant,
    next: AtomicU64,
    progress: watch::Sender<Progress>,
    record: Mutex<Outcome>,
}

impl Load {
    /// Starts sending.
    pub fn start(settings: Settings, orders: Orders) -> Load {
        let stop = watch::Sender::new(false);
        let shared = Arc::new(Shared {
            orders,
            start: Instant::now(),
            next: AtomicU64::new(0),
            progress: watch::Sender::new(Progress::default()),
            record: Mutex::default(),
            settings,
        });
        let mut workers = JoinSet::new();
        for number in 0..shared.settings.connections {
            let target = shared.settings.targets[number % shared.settings.targets.len()];
            workers.spawn(worker(Arc::clone(&shared), target, stop.subscribe()));
        }
        Load {
            shared,
            stop,
            workers,
        }
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        *self.shared.progress.borrow()
    }

    /// Waits for so many more answers.
    ///
    /// # Errors
    /// When they have not come within `patience`.
    pub async fn answers(&self, count: u64, patience: Duration) -> anyhow::Result<()> {
        let aim = self.progress().answered + count;
        let mut progress = self.shared.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.answered >= aim);
        match tokio::time::timeout(patience, reached).await {
            Ok(reached) => reached.map(drop).context("the load has ended"),
            Err(_) => bail!(
                "{count} more answers did not come within {patience:?}: {:?}; {}",
                self.progress(),
                self.last_failure()
            ),
        }
    }

    /// The last failure in words, for messages.
    fn last_failure(&self) -> String {
        match self.shared.record.lock().failures.last() {
            Some(failure) => format!("last failure: {failure}"),
            None => "no failure".to_owned(),
        }
    }

    /// Lets the orders under way end, and gives what happened to all.
    pub async fn stop(mut self) -> Outcome {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        let mut outcome = std::mem::take(&mut *self.shared.record.lock());
        outcome.progress = self.progress();
        outcome.start = Some(self.shared.start);
        outcome.end = Some(Instant::now());
        outcome
    }
}

/// Takes the next order, waits until it is due, sends it on its own connection; again and again.
async fn worker(shared: Arc<Shared>, target: SocketAddr, mut stop: watch::Receiver<bool>) {
    let mut connection: Option<Connection> = None;
    loop {
        let number = shared.next.fetch_add(1, Ordering::Relaxed);
        let due = shared.due(number);
        // A connection that is closed while it is idle is noticed at once.
        let stopped = loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break true,
                () = closed(&mut connection) => {
                    shared.count_closed();
                    connection = None;
                }
                () = tokio::time::sleep_until(due.into()) => break false,
            }
        };
        if stopped {
            return;
        }
        send(&shared, number, due, target, &mut connection).await;
    }
}

async fn closed(connection: &mut Option<Connection>) {
    match connection {
        Some(connection) => connection.closed().await,
        None => std::future::pending().await,
    }
}

async fn send(
    shared: &Shared,
    number: u64,
    due: Instant,
    target: SocketAddr,
    connection: &mut Option<Connection>,
) {
    let sent = Instant::now();
    shared.progress.send_modify(|progress| progress.sent += 1);
    let fail = |kind: FailureKind, detail: String| {
        let failure = Failure {
            number,
            target,
            sent,
            failed: Instant::now(),
            kind,
            detail,
        };
        shared.record.lock().failures.push(failure);
        shared.progress.send_modify(|progress| progress.failed += 1);
    };

    let open = match connection.take() {
        Some(open) => open,
        None => match Connection::open(target).await {
            Ok(open) => open,
            Err(error) => return fail(FailureKind::Connect, error.to_string()),
        },
    };
    let (reply, open) = match open.post("/orders", shared.orders.body(number)).await {
        Ok(replied) => replied,
        Err(error) => {
            shared.count_closed();
            return fail(FailureKind::Connection, error.to_string());
        }
    };
    match open {
        Some(open) => *connection = Some(open),
        None => shared.count_closed(),
    }
    let received = Instant::now();
    match shared.orders.read(number, reply.status, &reply.body) {
        Ok(answer) => {
            let mut record = shared.record.lock();
            record.samples.push(Sample {
                target,
                due,
                latency: received - due,
            });
            record.answers.push(answer);
            drop(record);
            shared
                .progress
                .send_modify(|progress| progress.answered += 1);
        }
        Err(unusable) => fail(FailureKind::Status(reply.status.as_u16()), unusable),
    }
}

impl Shared {
    /// When an order is due.
    fn due(&self, number: u64) -> Instant {
        self.start + Duration::from_secs_f64(number as f64 / f64::from(self.settings.rate))
    }

    fn count_closed(&self) {
        self.progress
            .send_modify(|progress| progress.connections_closed += 1);
    }
}
