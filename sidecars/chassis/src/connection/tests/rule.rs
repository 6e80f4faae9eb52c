//! The rule by which a connection moves is exact, and each of its conditions is needed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestError, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::track::{Condition, Track};
use super::super::{End, drive};
use super::answer;
use super::plan::{Life, Pause, Traffic, traffic};

/// How a connection is taken over.
#[derive(Clone, Copy, Debug)]
enum Handover {
    Never,
    /// As in production.
    Exact,
    /// With a condition taken for granted.
    Waiving(Condition),
    /// Without the bytes that hyper has read already.
    Forgetting,
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    received: Vec<u8>,
    calls: usize,
    failed: bool,
}

#[derive(Default)]
struct Count {
    handovers: AtomicUsize,
    with_bytes: AtomicUsize,
}

impl Pause {
    async fn pass(self) {
        match self {
            Pause::None => {}
            Pause::Yields(times) => {
                for _ in 0..times {
                    tokio::task::yield_now().await;
                }
            }
            Pause::Millis(millis) => tokio::time::sleep(Duration::from_millis(millis.into())).await,
        }
    }
}

/// Serves the traffic, moving the connection whenever it may, until the client hangs up.
async fn run(traffic: &Traffic, handover: Handover, count: &Count) -> Outcome {
    let (client, server) = duplex(traffic.pipe);
    let (mut reader, mut writer) = split(client);
    let (bytes, writes) = (traffic.bytes(), traffic.writes.clone());
    let writer = tokio::spawn(async move {
        let mut rest = bytes.as_slice();
        for (length, pause) in writes.into_iter().cycle() {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            if piece.is_empty() || writer.write_all(piece).await.is_err() {
                break;
            }
            rest = after;
            pause.pass().await;
        }
        // Every answer is there by then, and connections that are idle move too.
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        let _ = writer.shutdown().await;
        writer
    });
    let reads = traffic.reads.clone();
    let reader = tokio::spawn(async move {
        let (mut received, mut buffer) = (Vec::new(), [0; 1500]);
        let pauses = reads.into_iter().cycle().take(100);
        for pause in pauses.chain(std::iter::repeat(Pause::None)) {
            pause.pass().await;
            match reader.read(&mut buffer).await {
                Ok(count) if count > 0 => received.extend(&buffer[..count]),
                _ => break,
            }
        }
        received
    });

    let calls = Arc::new(AtomicUsize::new(0));
    let (mut io, mut replay) = (TokioIo::new(server), Bytes::new());
    // Without a pause of some time somewhere, connections would move forever in no time.
    let forced = Life {
        drained_after: Pause::Millis(4),
        withdrawn: None,
    };
    let mut lives = traffic.lives.iter().chain([&forced]).cloned().cycle();
    let failed = loop {
        let (drain, drained) = watch::channel(false);
        let life = lives.next();
        let signals = tokio::spawn(async move {
            if let (Some(life), false) = (life, matches!(handover, Handover::Never)) {
                life.drained_after.pass().await;
                drain.send_replace(true);
                if let Some((withdrawn, again)) = life.withdrawn {
                    withdrawn.pass().await;
                    drain.send_replace(false);
                    again.pass().await;
                    drain.send_replace(true);
                }
            }
            std::future::pending::<()>().await;
        });
        let track = match handover {
            Handover::Waiving(condition) => Track::waiving(condition),
            Handover::Never | Handover::Exact | Handover::Forgetting => Track::default(),
        };
        let service = |request| answer(request, &calls);
        let limit = Duration::from_secs(3_600);
        let end = drive(io, replay, service, drained, limit, track).await;
        signals.abort();
        match end {
            End::Closed => break false,
            End::Failed(_) => break true,
            End::Switched { .. } => unreachable!("no request asks for it"),
            End::Parked { io: parked, unread } => {
                count.handovers.fetch_add(1, Ordering::Relaxed);
                count
                    .with_bytes
                    .fetch_add(usize::from(!unread.is_empty()), Ordering::Relaxed);
                io = parked;
                replay = match handover {
                    Handover::Forgetting => Bytes::new(),
                    _ => unread,
                };
            }
        }
    };
    writer.abort();
    Outcome {
        received: reader.await.unwrap(),
        calls: calls.load(Ordering::Relaxed),
        failed,
    }
}

/// The client receives the same bytes, and the function the same requests, as without handovers.
fn is_invisible(
    runtime: &Runtime,
    traffic: &Traffic,
    handover: Handover,
    count: &Count,
) -> Result<(), TestCaseError> {
    let calm = runtime.block_on(run(traffic, Handover::Never, &Count::default()));
    assert!(!calm.failed && calm.calls == traffic.exchanges.len());
    let moved = runtime.block_on(run(traffic, handover, count));
    prop_assert_eq!(moved.calls, calm.calls);
    prop_assert_eq!(moved.failed, calm.failed);
    // The bytes are too many to print.
    prop_assert!(
        moved.received == calm.received,
        "{} bytes instead of {}",
        moved.received.len(),
        calm.received.len()
    );
    Ok(())
}

fn paused() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
}

/// `PROPTEST_CASES` sets how many streams are tried.
#[test]
fn handovers_at_random_moments_are_invisible_to_the_client() {
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => ProptestConfig::default().cases,
        None => 200,
    };
    let (runtime, count) = (paused(), Count::default());
    let mut config = ProptestConfig::with_cases(cases);
    config.source_file = Some(file!());
    let mut runner = TestRunner::new(config);
    let exact = |traffic| is_invisible(&runtime, &traffic, Handover::Exact, &count);
    if let Err(error) = runner.run(&traffic(), exact) {
        panic!("{error}");
    }
    let handovers = count.handovers.into_inner();
    let with_bytes = count.with_bytes.into_inner();
    println!("{cases} streams, {handovers} handovers, {with_bytes} of them with bytes");
    // The property must not hold for want of handovers.
    assert!(with_bytes as u32 > cases / 2 && handovers as u32 > 10 * cases);
}

/// Fails if a weakened rule went unnoticed in as many streams as the exact rule is tried with.
fn is_noticed(handover: Handover) {
    let (runtime, count) = (paused(), Count::default());
    let mut config = ProptestConfig::with_cases(200);
    config.failure_persistence = None;
    config.max_shrink_iters = 0;
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(Default::default()),
    );
    let weakened = |traffic| is_invisible(&runtime, &traffic, handover, &count);
    let result = runner.run(&traffic(), weakened);
    assert!(
        matches!(result, Err(TestError::Fail(..))),
        "{handover:?} went unnoticed"
    );
}

#[test]
fn without_waiting_for_the_answer_handovers_are_noticed() {
    is_noticed(Handover::Waiving(Condition::Answered));
}

#[test]
fn without_reading_the_body_handovers_are_noticed() {
    is_noticed(Handover::Waiving(Condition::Read));
}

#[test]
fn without_flushing_handovers_are_noticed() {
    is_noticed(Handover::Waiving(Condition::Flushed));
}

#[test]
fn without_the_bytes_that_were_read_handovers_are_noticed() {
    is_noticed(Handover::Forgetting);
}
