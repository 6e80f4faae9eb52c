//! The slots of one sidecar as plain processes, with the files that they would find in a pod.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use outrigger_control::{Order, PerSlot, Phase, Report, Role, Slot, content_hash, layout};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

/// Ends a slot with its test.
pub(crate) struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// One pod, with one sidecar of one function, both of one name.
pub(crate) struct Pod {
    root: tempfile::TempDir,
    name: &'static str,
    program: &'static str,
    pub(crate) port: u16,
    admin: PerSlot<u16>,
    config: String,
}

impl Pod {
    /// Slots of a program; the function gets `parameters`.
    pub(crate) fn create(name: &'static str, program: &'static str, parameters: &Value) -> Pod {
        let ports = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [port, a, b] = ports.map(|held| held.local_addr().unwrap().port());
        let document = json!({
            "v": 1,
            "application": {"namespace": "support", "name": "tickets"},
            "sidecar": name,
            "functions": [{"name": name, "port": port, "kind": {"custom": [
                {"source": "sidecar", "values": {"parameters": parameters}},
            ]}}],
        });
        let pod = Pod {
            root: tempfile::tempdir().unwrap(),
            name,
            program,
            port,
            admin: PerSlot { a, b },
            config: content_hash(&document).unwrap(),
        };
        for directory in ["control", "secrets", "shared", "credentials"] {
            std::fs::create_dir(pod.directory(directory)).unwrap();
        }
        pod.write(&layout::document_file(&pod.config), &document.to_string());
        pod.order(1, Slot::A);
        pod
    }

    /// Where the slots find a kind of files.
    pub(crate) fn directory(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        let control = self.directory("control");
        std::fs::write(control.join("..draft"), content).unwrap();
        std::fs::rename(control.join("..draft"), control.join(name)).unwrap();
    }

    /// Tells the slots which of them is active.
    pub(crate) fn order(&self, term: u64, active: Slot) {
        let order = json!({
            "v": 1, "term": term, "active": active, "phase": Phase::Handover,
            "config": PerSlot::both(&self.config), "revision": PerSlot::both("revision-1"),
            "admin": self.admin, "since": "2026-01-01T00:00:00Z",
        });
        let order = Order::parse(&order.to_string()).unwrap();
        self.write(layout::ORDER_FILE, &order.to_json().unwrap());
    }

    /// Starts a slot.
    pub(crate) fn start(&self, slot: Slot) -> Running {
        let child = Command::new(self.program)
            .arg(layout::SLOT_COMMAND)
            .env(layout::ENV_SIDECAR, self.name)
            .env(layout::ENV_SLOT, slot.to_string())
            .env(layout::ENV_LISTEN, format!("{}={}", self.name, self.port))
            .env(layout::ENV_ADMIN_PORT, self.admin.of(slot).to_string())
            .env("OUTRIGGER_CONTROL_DIR", self.directory("control"))
            .env("OUTRIGGER_SECRETS_DIR", self.directory("secrets"))
            .env("OUTRIGGER_CREDENTIALS_DIR", self.directory("credentials"))
            .env("OUTRIGGER_SHARED_DIR", self.directory("shared"))
            .spawn()
            .unwrap();
        Running(child)
    }

    /// What a slot says of itself.
    pub(crate) fn report(&self, slot: Slot) -> Option<Report> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *self.admin.of(slot))).ok()?;
        let request = "GET /status HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).ok()?;
        serde_json::from_str(response.split_once("\r\n\r\n")?.1).ok()
    }

    /// Waits for a role of a warm slot.
    pub(crate) fn until(&self, slot: Slot, role: Role) {
        let has = |report: &Report| report.role == role && report.warm;
        self.until_report(slot, has, &format!("{role:?}"));
    }

    /// Waits for what a slot says.
    pub(crate) fn until_report(&self, slot: Slot, wanted: impl Fn(&Report) -> bool, what: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let report = self.report(slot);
            if report.as_ref().is_some_and(&wanted) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{slot} is not {what}: {report:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
