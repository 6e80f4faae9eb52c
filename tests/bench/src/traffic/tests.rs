//! The counts against a server that loses, repeats and closes on purpose.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod going_away;
mod messages;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Traffic;
use super::exchange::expected;
use crate::ledger::Verdict;
use crate::record::{Outcome, Plan, Shape};

/// What the server does with the request of one id.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    /// Answers and does not act.
    Lose,
    /// Acts twice.
    Repeat,
    /// Closes in place of an answer, after it has acted.
    CloseBefore,
    /// Closes after the answer without a word.
    CloseAfter,
    /// Says in the answer that it closes.
    SayClose,
    /// Answers with an error.
    Error,
}

type Ledger = Arc<Mutex<Vec<u64>>>;

/// A server of requests without bodies.
async fn serve(fault: Option<(u64, Fault)>) -> (String, Ledger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let ledger = Ledger::default();
    let shared = Arc::clone(&ledger);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(connection(stream, Arc::clone(&shared), fault));
        }
    });
    (target, ledger)
}

async fn connection(mut stream: TcpStream, ledger: Ledger, fault: Option<(u64, Fault)>) {
    let mut unread = Vec::new();
    loop {
        let Some(end) = unread.windows(4).position(|four| four == b"\r\n\r\n") else {
            match stream.read_buf(&mut unread).await {
                Ok(count) if count > 0 => continue,
                _ => return,
            }
        };
        let head = String::from_utf8(unread.drain(..end + 4).collect()).unwrap();
        let id = head.lines().find_map(|line| line.strip_prefix("x-id: "));
        let id: u64 = id.unwrap().parse().unwrap();
        let fault = fault.filter(|(of, _)| *of == id).map(|(_, fault)| fault);
        let times = match fault {
            Some(Fault::Lose) => 0,
            Some(Fault::Repeat) => 2,
            _ => 1,
        };
        ledger.lock().extend(std::iter::repeat_n(id, times));
        if fault == Some(Fault::CloseBefore) {
            return;
        }
        let status = match fault {
            Some(Fault::Error) => "500 Internal Server Error",
            _ => "200 OK",
        };
        let close = match fault {
            Some(Fault::SayClose) => "connection: close\r\n",
            _ => "",
        };
        let body = expected(Shape::KeepAlive, id);
        let length = body.len();
        let text = format!("HTTP/1.1 {status}\r\n{close}content-length: {length}\r\n\r\n{body}");
        if stream.write_all(text.as_bytes()).await.is_err() || fault == Some(Fault::CloseAfter) {
            return;
        }
    }
}

/// Runs until a hundred requests were sent, and gives counts and verdict.
async fn run(shape: Shape, idle: usize, fault: Option<(u64, Fault)>) -> (Outcome, Verdict) {
    let (target, ledger) = serve(fault).await;
    let plan = Plan {
        target,
        shape,
        rate: 2000,
        connections: 4,
        idle,
        first: 1000,
    };
    run_against(plan, &ledger, 100).await
}

/// Runs until so many requests were sent, and compares what came of them with a ledger.
async fn run_against(plan: Plan, ledger: &Ledger, requests: u64) -> (Outcome, Verdict) {
    let first = plan.first;
    let traffic = Traffic::start(plan).await.unwrap();
    while traffic.progress().sent < requests {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (outcome, samples) = traffic.stop().await;
    assert_eq!(samples.len() as u64, outcome.answered);
    assert_eq!(outcome.end - first, outcome.sent, "every id was sent");
    let failed: Vec<_> = outcome.failures.iter().map(|failure| failure.id).collect();
    assert_eq!(outcome.sent, outcome.answered + failed.len() as u64);
    let verdict = Verdict::of(first, outcome.end, &failed, &ledger.lock());
    (outcome, verdict)
}

/// Lost, duplicated, unknown; failed and closed.
fn figures((outcome, verdict): &(Outcome, Verdict)) -> ([u64; 3], usize, u64) {
    let Verdict {
        lost,
        duplicated,
        unknown,
    } = *verdict;
    (
        [lost, duplicated, unknown],
        outcome.failures.len(),
        outcome.closed,
    )
}

#[tokio::test]
async fn a_good_server_gives_no_cause_for_complaint() {
    for shape in [
        Shape::KeepAlive,
        Shape::NewConnection,
        Shape::Mixed,
        Shape::SplitHead,
        Shape::Pipelined,
    ] {
        let found = run(shape, 8, None).await;
        assert_eq!(figures(&found), ([0, 0, 0], 0, 0), "{shape:?}: {found:?}");
    }
}

#[tokio::test]
async fn every_fault_is_counted_as_what_it_is() {
    for (fault, expected) in [
        (Fault::Lose, ([1, 0, 0], 0, 0)),
        (Fault::Repeat, ([0, 1, 0], 0, 0)),
        (Fault::CloseBefore, ([0, 0, 1], 1, 1)),
        (Fault::CloseAfter, ([0, 0, 0], 0, 1)),
        (Fault::SayClose, ([0, 0, 0], 0, 1)),
        (Fault::Error, ([0, 0, 1], 1, 0)),
    ] {
        let found = run(Shape::KeepAlive, 0, Some((1010, fault))).await;
        assert_eq!(figures(&found), expected, "{found:?}");
    }
}

#[tokio::test]
async fn a_target_that_is_not_there_fails_to_connect() {
    let (target, _) = serve(None).await;
    let mut plan = Plan {
        target,
        shape: Shape::NewConnection,
        rate: 500,
        connections: 1,
        idle: 0,
        first: 0,
    };
    plan.target = "127.0.0.1:1".to_owned();
    let traffic = Traffic::start(plan.clone()).await.unwrap();
    while traffic.progress().failures.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (outcome, _) = traffic.stop().await;
    assert!(outcome.failures.iter().all(|failure| failure.connect));
    plan.idle = 1;
    let error = Traffic::start(plan).await.unwrap_err();
    assert!(error.to_string().contains("idle connection 0"), "{error}");
}
