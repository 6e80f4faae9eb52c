//! Messages against a server that forgets, repeats, mixes and closes on purpose.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{Ledger, figures, run_against};
use crate::ledger::Verdict;
use crate::messages::answer;
use crate::record::{Outcome, Plan, Shape};

/// What the server does with the message of one id.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Answers and does not act.
    Lose,
    /// Acts twice.
    Repeat,
    /// Answers twice.
    AnswerTwice,
    /// Answers after the next one.
    Late,
    /// Counts from the beginning, as one without the connection's state does.
    Forget,
    /// Closes in place of an answer, after it has acted.
    Close,
}

async fn serve(fault: Option<(u64, Fault)>) -> (String, Ledger) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let ledger = Ledger::default();
    let shared = Arc::clone(&ledger);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream, Arc::clone(&shared), fault));
        }
    });
    (target, ledger)
}

/// Ends when the client has gone, or when it is to close.
async fn speak(stream: TcpStream, ledger: Ledger, fault: Option<(u64, Fault)>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
    }
    stream
        .write_all(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
        .await
        .ok()?;
    let (mut count, mut late) = (0, String::new());
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let id: u64 = line.trim().parse().ok()?;
        let fault = fault.filter(|(of, _)| *of == id).map(|(_, fault)| fault);
        let times = match fault {
            Some(Fault::Lose) => 0,
            Some(Fault::Repeat) => 2,
            _ => 1,
        };
        ledger.lock().extend(std::iter::repeat_n(id, times));
        count += 1;
        let mut text = match fault {
            Some(Fault::Close) => return None,
            Some(Fault::AnswerTwice) => answer(id, count).repeat(2),
            Some(Fault::Late) => {
                late = answer(id, count);
                continue;
            }
            Some(Fault::Forget) => {
                count = 1;
                answer(id, count)
            }
            _ => answer(id, count),
        };
        text.push_str(&std::mem::take(&mut late));
        stream.write_all(text.as_bytes()).await.ok()?;
    }
}

async fn run(fault: Option<(u64, Fault)>) -> (Outcome, Verdict) {
    let (target, ledger) = serve(fault).await;
    let plan = Plan {
        target,
        shape: Shape::Upgraded,
        rate: 1000,
        connections: 4,
        idle: 4,
        first: 1000,
    };
    run_against(plan, &ledger, 100).await
}

#[tokio::test]
async fn messages_that_are_answered_in_turn_give_no_cause_for_complaint() {
    let found = run(None).await;
    assert_eq!(figures(&found), ([0, 0, 0], 0, 0), "{found:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_message_is_counted() {
    // Of an even id, the first of two.
    for (fault, expected) in [
        (Fault::Lose, ([1, 0, 0], 0, 0)),
        (Fault::Repeat, ([0, 1, 0], 0, 0)),
        (Fault::Close, ([0, 0, 1], 2, 1)),
    ] {
        let found = run(Some((1090, fault))).await;
        assert_eq!(figures(&found), expected, "{fault:?}: {found:?}");
    }
    // Answers that do not come in turn, or with another count.
    for (fault, detail) in [
        (Fault::AnswerTwice, "1090 "),
        (Fault::Late, "1091 "),
        (Fault::Forget, "1090 1, not 1090 "),
    ] {
        let (outcome, verdict) = run(Some((1090, fault))).await;
        assert_eq!((verdict.lost, verdict.duplicated), (0, 0), "{fault:?}");
        let failed = outcome.failures.first().unwrap();
        assert!(failed.detail.starts_with(detail), "{fault:?}: {failed:?}");
    }
}
