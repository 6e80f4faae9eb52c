//! `hold`: the container that keeps a function pod running and answers its readiness probe.
//!
//! Slots are native sidecars: they start before the pod's other containers, and kubelet ends them
//! after those. So the holder decides how long they serve. Told to end, it stays for a while and
//! says that the pod is ready: the Service sends requests here until another function pod serves.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use outrigger_control::{Report, Role};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::arguments::HoldArguments;

/// How long the slots of a pod that is ending go on serving, so that its successor can begin.
const LINGER: Duration = Duration::from_secs(10);
/// How long a probe with its head, and a slot with its report, may keep the holder waiting.
const PATIENCE: Duration = Duration::from_secs(1);
/// So many probes are answered at the same time: a client that says nothing keeps nobody else
/// waiting.
const PROBES: usize = 16;
/// The head of a probe and the report of a slot are far smaller.
const LONGEST: u64 = 64 * 1024;

/// Holds the pod until SIGTERM or SIGINT, and a while longer.
pub(crate) fn run(arguments: &HoldArguments) -> ExitCode {
    match hold(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => crate::failure(&error),
    }
}

fn hold(arguments: &HoldArguments) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let listener = listen(arguments.port)?;
    let slots = arguments.slot_ports.clone();
    thread::spawn(move || answer_all(&listener, &slots, PATIENCE));
    signals.forever().next();
    thread::sleep(LINGER);
    Ok(())
}

/// On all addresses, of either family; on a node without IPv6, of IPv4.
fn listen(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

/// Gives each client `patience` for the head of its request.
fn answer_all(listener: &TcpListener, slots: &[u16], patience: Duration) {
    thread::scope(|threads| {
        for _ in 0..PROBES {
            threads.spawn(|| {
                for probe in listener.incoming().flatten() {
                    // A probe that goes away is none to be answered.
                    let _ = answer(&probe, slots, patience);
                }
            });
        }
    });
}

/// Answers one request, whatever it asks for but `/readyz` with 404.
fn answer(mut probe: &TcpStream, slots: &[u16], patience: Duration) -> io::Result<()> {
    probe.set_write_timeout(Some(PATIENCE))?;
    let head = read_head(&mut Patient::with(probe, patience))?;
    let (status, body) = match head.starts_with(b"GET /readyz ") {
        false => ("404 Not Found", "the only path is /readyz\n".to_owned()),
        true => match serving(slots) {
            Ok(()) => ("200 OK", "ok\n".to_owned()),
            Err(why) => ("503 Service Unavailable", format!("{why}\n")),
        },
    };
    let length = body.len();
    write!(
        probe,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Reads from a peer until a time, however little each read brings.
struct Patient<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Patient<'_> {
    fn with(stream: &TcpStream, patience: Duration) -> Patient<'_> {
        Patient {
            stream,
            end: Instant::now() + patience,
        }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, part: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(part)
    }
}

fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut part = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part)?;
        if read == 0 || head.len() as u64 > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        head.extend_from_slice(&part[..read]);
    }
    Ok(head)
}

/// Whether one of the slots serves; otherwise what each one says.
///
/// One that is configured serves, also if some function is not warm: the applications that share
/// the pod do not wait for the store of one of them.
fn serving(slots: &[u16]) -> Result<(), String> {
    let mut said = Vec::new();
    for port in slots {
        match report(*port) {
            Ok(report) => match (report.role, report.configuration.hash) {
                (Role::Active, Some(_)) => return Ok(()),
                (Role::Active, None) => {
                    said.push(format!("slot {}: Active, not configured", report.slot));
                }
                (role, _) => said.push(format!("slot {}: {role:?}", report.slot)),
            },
            Err(error) => said.push(format!("admin port {port}: {error}")),
        }
    }
    Err(said.join("; "))
}

/// What the slot on an admin port of the pod says of itself.
fn report(port: u16) -> io::Result<Report> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut slot = TcpStream::connect_timeout(&address, PATIENCE)?;
    slot.set_write_timeout(Some(PATIENCE))?;
    slot.write_all(b"GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    Patient::with(&slot, PATIENCE)
        .take(LONGEST)
        .read_to_end(&mut answer)?;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.ok_or_else(invalid)? + 4);
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(invalid());
    }
    serde_json::from_slice(body).map_err(Into::into)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::json;

    use super::*;

    /// A slot that is not warm and answers every question with a role; its port.
    fn slot(role: &'static str, configured: bool) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for mut asked in listener.incoming().flatten() {
                read_head(&mut asked).unwrap();
                let configuration = match configured {
                    true => json!({"hash": "h1"}),
                    false => json!({}),
                };
                let body = json!({
                    "sidecar": "orders", "slot": "a", "version": "1", "role": role,
                    "pair": {"term": 1, "takeover": 0}, "warm": false,
                    "notWarm": "application bank: the store is away", "configuration": configuration,
                    "workerRestarts": 0, "drained": false,
                    "traffic": {"connections": 0, "inFlight": 0, "answered": 0, "serverErrors": 0},
                    "handover": {"completed": 0, "aborted": 0, "connections": 0, "commitMicros": 0},
                });
                let body = body.to_string();
                let length = body.len();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                asked.write_all((head + &body).as_bytes()).unwrap();
            }
        });
        port
    }

    /// A port on which nobody listens.
    fn nobody() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    /// A holder that asks slots; its port.
    fn holder(slots: Vec<u16>, patience: Duration) -> u16 {
        let listener = listen(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || answer_all(&listener, &slots, patience));
        port
    }

    fn probed(slots: Vec<u16>, request: &str) -> String {
        asked(holder(slots, PATIENCE), request)
    }

    fn asked(port: u16, request: &str) -> String {
        let mut probe = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        probe.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        probe.read_to_string(&mut answer).unwrap();
        answer
    }

    const READY: &str = "GET /readyz HTTP/1.1\r\nHost: pod\r\n\r\n";

    #[test]
    fn a_pod_is_ready_while_either_slot_serves() {
        for slots in [
            vec![slot("Active", true), nobody()],
            vec![nobody(), slot("Active", true)],
            vec![slot("Draining", true), slot("Active", true)],
        ] {
            let answer = probed(slots, READY);
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
    }

    #[test]
    fn a_pod_in_which_no_slot_serves_says_what_each_one_does() {
        let slots = vec![slot("Active", false), slot("Standby", true)];
        let answer = probed(slots, READY);
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer.ends_with("slot a: Active, not configured; slot a: Standby\n"),
            "{answer}"
        );
        let answer = probed(vec![nobody()], READY);
        assert!(answer.contains("admin port"), "{answer}");
    }

    #[test]
    fn clients_that_say_nothing_keep_no_probe_waiting() {
        let port = holder(vec![slot("Active", true)], Duration::from_secs(3600));
        let _silent: Vec<_> = (1..PROBES)
            .map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap())
            .collect();
        let answer = asked(port, READY);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }

    #[test]
    fn a_client_that_never_comes_to_an_end_is_left() {
        let port = holder(Vec::new(), PATIENCE / 10);
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        // Each byte comes well within the time that there is for all.
        while client.write_all(b"G").is_ok() {
            thread::sleep(PATIENCE / 200);
        }
    }

    #[test]
    fn another_path_is_not_found() {
        let answer = probed(Vec::new(), "GET / HTTP/1.1\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    }
}
