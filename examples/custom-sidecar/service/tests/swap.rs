//! The function is swapped under load, by real slots on loopback.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod pod;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use outrigger_control::{Role, Slot};
use serde_json::{Value, json};

use crate::pod::Pod;

const CLIENTS: usize = 4;

/// Ends the load, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One request on a connection that is kept.
fn redact(stream: &mut TcpStream, number: u64) {
    let ticket = json!({"number": number, "from": [{"email": "a@example.com"}]}).to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: pod\r\nContent-Length: {}\r\n\r\n",
        ticket.len()
    );
    stream.write_all((head + &ticket).as_bytes()).unwrap();
    let mut received = Vec::new();
    let (head, answer) = loop {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "the connection was closed");
        received.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&received);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(answer) = serde_json::from_str::<Value>(body)
        {
            break (head.to_owned(), answer);
        }
    };
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(answer, json!({"number": number, "from": [{"email": "x"}]}));
}

#[test]
fn swaps_under_load_lose_no_request_and_close_no_connection() {
    let parameters = json!({"mask": "x", "fields": ["email"]});
    let pod = Pod::create("redact", env!("CARGO_BIN_EXE_redact"), &parameters);
    let _a = pod.start(Slot::A);
    pod.until(Slot::A, Role::Active);
    let _b = pod.start(Slot::B);
    pod.until(Slot::B, Role::Standby);
    let stop = AtomicBool::new(false);
    let answered = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let load = Stop(&stop);
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, pod.port)).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    redact(&mut stream, answered.fetch_add(1, Ordering::Relaxed));
                }
            });
        }
        let mut active = Slot::A;
        for term in 2..8 {
            active = active.peer();
            pod.order(term, active);
            pod.until(active, Role::Active);
            pod.until(active.peer(), Role::Standby);
        }
        drop(load);
    });
    let served = Slot::BOTH.map(|slot| pod.report(slot).unwrap().traffic.answered);
    assert!(served.iter().all(|count| *count > 0), "{served:?}");
    assert_eq!(served.iter().sum::<u64>(), answered.load(Ordering::Relaxed));
}
