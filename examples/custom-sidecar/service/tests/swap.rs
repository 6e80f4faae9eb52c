//! The function is swapped under load, by real slots on loopback.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use outrigger_control::{Order, PerSlot, Phase, Report, Role, Slot, content_hash, layout};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);
const CLIENTS: usize = 4;

/// Ends a slot with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Ends the load, also when the test fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Pod {
    root: tempfile::TempDir,
    port: u16,
    admin: PerSlot<u16>,
    config: String,
}

impl Pod {
    fn create() -> Pod {
        let ports = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, a, b] = ports.map(|held| held.local_addr().unwrap().port());
        let document = json!({
            "v": 1,
            "application": {"namespace": "support", "name": "tickets"},
            "sidecar": "redact",
            "functions": [{"name": "redact", "port": port, "kind": {"custom": [
                {"source": "sidecar", "values": {"parameters": {"mask": "x"}}},
                {"source": "app", "values": {"parameters": {"fields": ["email"]}}},
            ]}}],
        });
        let pod = Pod {
            root: tempfile::tempdir().unwrap(),
            port,
            admin: PerSlot { a, b },
            config: content_hash(&document).unwrap(),
        };
        for directory in ["control", "secrets", "shared"] {
            std::fs::create_dir(pod.root.path().join(directory)).unwrap();
        }
        pod.write(&layout::document_file(&pod.config), &document.to_string());
        pod.order(1, Slot::A);
        pod
    }

    fn write(&self, name: &str, content: &str) {
        let control = self.root.path().join("control");
        std::fs::write(control.join("..draft"), content).unwrap();
        std::fs::rename(control.join("..draft"), control.join(name)).unwrap();
    }

    fn order(&self, term: u64, active: Slot) {
        let order = json!({
            "v": 1, "term": term, "active": active, "phase": Phase::Handover,
            "config": PerSlot::both(&self.config), "revision": PerSlot::both("redact-1"),
            "admin": self.admin, "since": "2026-01-01T00:00:00Z",
        });
        let order = Order::parse(&order.to_string()).unwrap();
        self.write(layout::ORDER_FILE, &order.to_json().unwrap());
    }

    fn start(&self, slot: Slot) -> Running {
        let directory = |name: &str| -> std::path::PathBuf { Path::join(self.root.path(), name) };
        let child = Command::new(env!("CARGO_BIN_EXE_redact"))
            .arg(layout::SLOT_COMMAND)
            .env(layout::ENV_SIDECAR, "redact")
            .env(layout::ENV_SLOT, slot.to_string())
            .env(layout::ENV_LISTEN, format!("redact={}", self.port))
            .env(layout::ENV_ADMIN_PORT, self.admin.of(slot).to_string())
            .env("OUTRIGGER_CONTROL_DIR", directory("control"))
            .env("OUTRIGGER_SECRETS_DIR", directory("secrets"))
            .env("OUTRIGGER_SHARED_DIR", directory("shared"))
            .spawn()
            .unwrap();
        Running(child)
    }

    fn report(&self, slot: Slot) -> Option<Report> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *self.admin.of(slot))).ok()?;
        let request = "GET /status HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        serde_json::from_str(response.split_once("\r\n\r\n")?.1).ok()
    }

    fn until(&self, slot: Slot, role: Role) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report(slot);
            if matches!(&report, Some(report) if report.role == role && report.warm) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{slot} is not {role:?}: {report:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
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
    let pod = Pod::create();
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
