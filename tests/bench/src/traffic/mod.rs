//! Requests at a fixed rate, whatever becomes of those before (an open loop). A latency counts from
//! the moment at which the request was due. Nothing is sent again but [streams] that were refused.

mod exchange;
mod streams;
#[cfg(test)]
mod tests;
mod upgraded;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::exchange::{Connection, Failed};
use crate::record::{Failure, Outcome, Plan, Sample, Shape};

/// Idle connections that are opened at the same time.
const OPENING: usize = 128;
/// Pipelined requests in a batch.
const BATCH: u64 = 8;
/// Messages in a batch.
const MESSAGES: u64 = 2;

/// A run.
#[derive(Debug)]
pub struct Traffic {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    workers: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    start: Instant,
    start_ns: u64,
    /// The next id.
    next: AtomicU64,
    /// How many moments have been given out.
    moments: AtomicU64,
    record: Mutex<(Outcome, Vec<Sample>)>,
}

impl Traffic {
    /// Opens the idle connections and starts to send.
    ///
    /// # Errors
    /// When an idle connection cannot be opened.
    pub async fn start(plan: Plan) -> anyhow::Result<Traffic> {
        let target = &plan.target;
        let open = async |number| {
            let open = Connection::open(target, plan.shape).await;
            open.with_context(|| format!("idle connection {number}"))
        };
        let idle = stream::iter(0..plan.idle).map(open);
        let idle: Vec<_> = idle.buffer_unordered(OPENING).try_collect().await?;
        let stop = watch::Sender::new(false);
        let since = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let shared = Arc::new(Shared {
            start: Instant::now(),
            start_ns: since.as_nanos().try_into()?,
            next: AtomicU64::new(plan.first),
            moments: AtomicU64::new(0),
            record: Mutex::default(),
            plan,
        });
        let mut workers = JoinSet::new();
        for _ in 0..shared.plan.connections {
            match shared.plan.shape {
                Shape::Http2 => streams::start(&shared, &stop, &mut workers),
                _ => drop(workers.spawn(worker(Arc::clone(&shared), stop.subscribe()))),
            }
        }
        for connection in idle {
            workers.spawn(idler(Arc::clone(&shared), connection, stop.subscribe()));
        }
        Ok(Traffic {
            shared,
            stop,
            workers,
        })
    }

    /// Counts so far.
    pub fn progress(&self) -> Outcome {
        self.shared.record.lock().0.clone()
    }

    /// Lets the requests under way end, and gives what happened to all.
    pub async fn stop(mut self) -> (Outcome, Vec<Sample>) {
        self.stop.send_replace(true);
        while self.workers.join_next().await.is_some() {}
        let (mut outcome, samples) = std::mem::take(&mut *self.shared.record.lock());
        outcome.end = self.shared.next.load(Ordering::Relaxed);
        (outcome, samples)
    }
}

/// Takes the next requests, waits until they are due, sends them; again and again.
async fn worker(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) {
    let mut connection: Option<Connection> = None;
    let batch = match shared.plan.shape {
        Shape::Pipelined => BATCH,
        Shape::Upgraded => MESSAGES,
        _ => 1,
    };
    loop {
        // Only what is sent has an id, so that none is missing at the end.
        let due = shared.next_due(batch);
        let wait = tokio::time::sleep_until(due.into());
        tokio::pin!(wait);
        let stopped = loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break true,
                () = closed(&mut connection) => {
                    shared.count_closed();
                    connection = None;
                }
                () = &mut wait => break false,
            }
        };
        if stopped {
            return;
        }
        let first = shared.next.fetch_add(batch, Ordering::Relaxed);
        let apart = match shared.plan.shape {
            Shape::NewConnection => true,
            Shape::Mixed => first.is_multiple_of(10),
            _ => false,
        };
        let mut other = None;
        let over = match apart {
            true => &mut other,
            false => &mut connection,
        };
        send(&shared, first, batch, due, over).await;
    }
}

/// Keeps a connection idle until the end, and sends a request on it then.
async fn idler(shared: Arc<Shared>, connection: Connection, mut stop: watch::Receiver<bool>) {
    let mut connection = Some(connection);
    tokio::select! {
        biased;
        () = closed(&mut connection) => return shared.count_closed(),
        _ = stop.wait_for(|stop| *stop) => {}
    }
    let first = shared.next.fetch_add(1, Ordering::Relaxed);
    send(&shared, first, 1, Instant::now(), &mut connection).await;
}

/// Waits until the other side closes the connection, which has no request under way.
async fn closed(connection: &mut Option<Connection>) {
    match connection {
        Some(connection) => connection.closed().await,
        None => std::future::pending().await,
    }
}

/// Sends requests together and reads their answers.
async fn send(
    shared: &Shared,
    first: u64,
    count: u64,
    due: Instant,
    connection: &mut Option<Connection>,
) {
    let sent = Instant::now();
    shared.record.lock().0.sent += count;
    let open = match connection.take() {
        Some(open) => Ok(open),
        None => Connection::open(&shared.plan.target, shared.plan.shape).await,
    };
    let mut open = match open {
        Ok(open) => open,
        Err(error) => {
            shared.fail(first..first + count, sent, true, &error.to_string());
            return;
        }
    };
    let begun = match open.write(shared.plan.shape, first, count).await {
        Ok(begun) => begun,
        Err(error) => {
            shared.count_closed();
            shared.fail(first..first + count, sent, false, &error.to_string());
            return;
        }
    };
    // The pauses within a request are the client's own.
    let due = due + begun;
    for id in first..first + count {
        match open.read(shared.plan.shape, id).await {
            Ok(()) => shared.answer(due),
            Err(Failed::Answer(found)) => shared.fail(id..id + 1, sent, false, &found),
            Err(Failed::Connection(error)) => {
                shared.count_closed();
                shared.fail(id..first + count, sent, false, &error);
                return;
            }
        }
    }
    match open.is_kept() {
        true => *connection = Some(open),
        false => shared.count_closed(),
    }
}

impl Shared {
    /// When the next requests are due that nobody has taken. Each moment is given once.
    fn next_due(&self, batch: u64) -> Instant {
        let number = self.moments.fetch_add(batch, Ordering::Relaxed);
        self.start + Duration::from_secs_f64(number as f64 / f64::from(self.plan.rate))
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        let since = (at - self.start).as_nanos();
        self.start_ns + u64::try_from(since).unwrap_or(u64::MAX)
    }

    fn answer(&self, due: Instant) {
        let latency = due.elapsed().as_nanos();
        let sample = Sample {
            due_ns: self.nanoseconds(due),
            latency_ns: u64::try_from(latency).unwrap_or(u64::MAX),
        };
        let mut record = self.record.lock();
        record.0.answered += 1;
        record.1.push(sample);
    }

    fn fail(&self, ids: std::ops::Range<u64>, sent: Instant, connect: bool, detail: &str) {
        let mut record = self.record.lock();
        record.0.failures.extend(ids.map(|id| Failure {
            id,
            sent_ns: self.nanoseconds(sent),
            failed_ns: self.nanoseconds(Instant::now()),
            connect,
            detail: detail.to_owned(),
        }));
    }

    fn count_closed(&self) {
        self.record.lock().0.closed += 1;
    }
}
