//! A pod of two slots: directories, ports, orders, and the processes.

mod shared;

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use outrigger_control::{
    Application, Document, FunctionDocument, FunctionKind, Layer, Order, Pair, PerSlot, Phase,
    Report, Role, SharedDocument, Slot, Values, content_hash, layout,
};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a test waits for something to happen before it fails.
const PATIENCE: Duration = Duration::from_secs(20);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A pod. Its processes end with it.
pub(crate) struct Pod {
    root: TempDir,
    /// Port of the function `echo`.
    pub(crate) port: u16,
    /// Port of the function `second`.
    pub(crate) second_port: u16,
    admin: PerSlot<u16>,
    document: Document,
    /// Hash of the document that orders name.
    pub(crate) config: String,
    slots: PerSlot<Option<Child>>,
    /// The common document of a function pod, whose functions listen on every address.
    common: Option<SharedDocument>,
}

/// Picks a port that nobody listens on, outside the range of which the kernel gives ports to
/// clients.
fn free_port() -> u16 {
    const FIRST: u16 = 18_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap();
    loop {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, FIRST + offset)).is_ok() {
            return FIRST + offset;
        }
    }
}

/// A kind of function with one parameter.
fn with(parameter: &str, value: &str) -> FunctionKind {
    FunctionKind::Idempotency(vec![Layer {
        source: "a test".into(),
        values: Values::Parameters([(parameter.into(), value.into())].into_iter().collect()),
    }])
}

impl Pod {
    /// A pod with an order that names slot a, in term 1, and no slot yet.
    pub(crate) fn create() -> Pod {
        let (port, second_port) = (free_port(), free_port());
        let function = |name: &str, port| FunctionDocument {
            name: name.into(),
            port,
            kind: FunctionKind::Idempotency(Vec::new()),
        };
        let document = Document {
            v: Document::VERSION,
            application: Application {
                namespace: "shop".into(),
                name: "orders".into(),
            },
            sidecar: "echo".into(),
            functions: vec![function("echo", port), function("second", second_port)],
            postgresql: None,
        };
        let mut pod = Pod {
            root: tempfile::tempdir().unwrap(),
            port,
            second_port,
            admin: PerSlot {
                a: free_port(),
                b: free_port(),
            },
            document,
            config: String::new(),
            slots: PerSlot { a: None, b: None },
            common: None,
        };
        for directory in ["control", "secrets", "shared", "sockets"] {
            std::fs::create_dir(pod.root.path().join(directory)).unwrap();
        }
        pod.publish();
        pod.order(1, Slot::A);
        pod
    }

    /// Makes a new document, which is the old one with one parameter of its first function. The
    /// next order names it.
    pub(crate) fn configure(&mut self, parameter: &str, value: &str) {
        self.document.functions[0].kind = with(parameter, value);
        self.publish();
    }

    /// Takes the document away that orders name.
    pub(crate) fn withdraw_document(&self) {
        let document = layout::document_file(&self.config);
        std::fs::remove_file(self.root.path().join("control").join(document)).unwrap();
    }

    fn publish(&mut self) {
        self.config = content_hash(&self.document).unwrap();
        let text = serde_json::to_string(&self.document).unwrap();
        self.replace(&layout::document_file(&self.config), &text);
    }

    /// A pod with both slots at rest: a serves, b is warm.
    pub(crate) async fn at_rest() -> Pod {
        let mut pod = Pod::create();
        pod.rest().await;
        pod
    }

    /// A pod at rest whose function has something exclusive.
    pub(crate) async fn with_ledger() -> Pod {
        let mut pod = Pod::create();
        pod.configure("ledger", "yes");
        pod.order(1, Slot::A);
        pod.rest().await;
        pod
    }

    /// Starts both slots: a serves, b is warm.
    async fn rest(&mut self) {
        self.start(Slot::A);
        self.until_active(Slot::A).await;
        self.start(Slot::B);
        self.until_standby(Slot::B).await;
    }

    pub(crate) fn shared(&self) -> PathBuf {
        self.root.path().join("shared")
    }

    /// The Unix socket of a function.
    pub(crate) fn socket(&self, function: &str) -> PathBuf {
        let sockets = self.root.path().join("sockets");
        sockets.join(layout::socket_file(function))
    }

    /// Gives a mounted Secret another value.
    pub(crate) fn rotate_secret(&self, value: &str) {
        let secret = self.root.path().join("secrets").join("database");
        std::fs::create_dir_all(&secret).unwrap();
        std::fs::write(secret.join("password"), value).unwrap();
    }

    /// Writes a control file in one step, as kubelet does.
    fn replace(&self, name: &str, content: &str) {
        let control = self.root.path().join("control");
        std::fs::write(control.join("..draft"), content).unwrap();
        std::fs::rename(control.join("..draft"), control.join(name)).unwrap();
    }

    /// Orders a slot to be active.
    pub(crate) fn order(&self, term: u64, active: Slot) {
        let order = Order {
            v: Order::VERSION,
            term,
            active,
            config: PerSlot::both(self.config.clone()),
            revision: PerSlot::both("echo-1".into()),
            admin: self.admin.clone(),
            phase: Phase::Handover,
            since: "2026-01-01T00:00:00Z".into(),
            single: false,
            replaced: None,
            notes: Default::default(),
        };
        self.replace(layout::ORDER_FILE, &order.to_json().unwrap());
    }

    /// A call of the sidecar's program in this pod.
    pub(crate) fn command(&self, argument: &str) -> Command {
        let directory = |name: &str| self.root.path().join(name);
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .arg(argument)
            .env(layout::ENV_SIDECAR, "echo")
            .env("OUTRIGGER_CONTROL_DIR", directory("control"))
            .env("OUTRIGGER_SECRETS_DIR", directory("secrets"))
            .env("OUTRIGGER_SHARED_DIR", directory("shared"))
            .env(layout::ENV_SOCKETS, directory("sockets"));
        command
    }

    /// Starts a slot as its container would.
    pub(crate) fn start(&mut self, slot: Slot) {
        let listen = format!("echo={},second={}", self.port, self.second_port);
        self.start_listening(slot, &listen);
    }

    /// Starts a slot with functions and ports of its own.
    pub(crate) fn start_listening(&mut self, slot: Slot, listen: &str) {
        let log = self.root.path().join(format!("{slot}.log"));
        let log = File::options().create(true).append(true).open(log).unwrap();
        let mut command = self.command(layout::SLOT_COMMAND);
        if self.common.is_some() {
            command.env(layout::ENV_BIND, "::");
        }
        let child = command
            .env(layout::ENV_SLOT, slot.to_string())
            .env(layout::ENV_LISTEN, listen)
            .env(layout::ENV_ADMIN_PORT, self.admin.of(slot).to_string())
            .env(layout::ENV_POD, "shop/orders-0")
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap();
        let former = self.slots.of_mut(slot).replace(child);
        assert!(former.is_none(), "slot {slot} runs already");
    }

    fn supervisor(&self, slot: Slot) -> Pid {
        Pid::from_child(self.slots.of(slot).as_ref().unwrap())
    }

    /// The slot's worker, once there is one.
    pub(crate) async fn worker(&self, slot: Slot) -> Pid {
        let supervisor = self.supervisor(slot).as_raw_nonzero();
        let children = format!("/proc/{supervisor}/task/{supervisor}/children");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&children).unwrap();
            let worker = text.split_whitespace().next();
            if let Some(worker) = worker
                .and_then(|pid| pid.parse().ok())
                .and_then(Pid::from_raw)
            {
                return worker;
            }
            assert!(Instant::now() < deadline, "slot {slot} has no worker");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Kills the slot's worker; returns when it was dead.
    pub(crate) async fn kill_worker(&self, slot: Slot) -> Instant {
        let worker = self.worker(slot).await;
        kill_process(worker, Signal::KILL).unwrap();
        while is_alive(worker) {
            tokio::task::yield_now().await;
        }
        Instant::now()
    }

    /// Stops the slot as kubelet does, by SIGTERM to its first process.
    pub(crate) fn terminate(&self, slot: Slot) {
        kill_process(self.supervisor(slot), Signal::TERM).unwrap();
    }

    /// Waits for the end of a slot's container.
    pub(crate) async fn ended(&mut self, slot: Slot) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let child = self.slots.of_mut(slot).as_mut().unwrap();
            if let Some(status) = child.try_wait().unwrap() {
                *self.slots.of_mut(slot) = None;
                return status;
            }
            assert!(Instant::now() < deadline, "slot {slot} goes on");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Ends a slot's container as the kernel does when its first process dies.
    pub(crate) fn kill(&mut self, slot: Slot) {
        if let Some(mut child) = self.slots.of_mut(slot).take() {
            // The group has no member but those that the slot started.
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            child.wait().unwrap();
        }
    }

    /// A connection to the admin port, if anybody listens.
    pub(crate) async fn call_admin(&self, slot: Slot) -> Option<TcpStream> {
        let address = (Ipv4Addr::LOCALHOST, *self.admin.of(slot));
        TcpStream::connect(address).await.ok()
    }

    /// Head and body of the admin port's answer to `GET /status` and the like; `None` while it
    /// does not answer.
    pub(crate) async fn admin(&self, slot: Slot, request: &str) -> Option<(String, String)> {
        let mut stream = self.call_admin(slot).await?;
        let request = format!("{request} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok()?;
        let (head, body) = response.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }

    /// What the slot reports; `None` while it does not answer.
    pub(crate) async fn report(&self, slot: Slot) -> Option<Report> {
        let (_, body) = self.admin(slot, "GET /status").await?;
        Some(serde_json::from_str(&body).expect("the report is readable"))
    }

    /// Waits until the slot's report is as described.
    #[track_caller]
    pub(crate) fn until(
        &self,
        slot: Slot,
        what: &str,
        is: impl Fn(&Report) -> bool,
    ) -> impl Future<Output = Report> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let report = self.report(slot).await;
                match report {
                    Some(report) if is(&report) => return report,
                    _ if Instant::now() >= deadline => {
                        panic!("{caller}: slot {slot} is not {what}: {report:#?}")
                    }
                    _ => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        }
    }

    pub(crate) async fn until_active(&self, slot: Slot) -> Report {
        self.until(slot, "active", |report| report.role == Role::Active)
            .await
    }

    pub(crate) async fn until_standby(&self, slot: Slot) -> Report {
        let ready = |report: &Report| report.role == Role::Standby && report.warm;
        self.until(slot, "a warm standby", ready).await
    }

    /// Waits until a slot serves by order of a term and the other is its standby again.
    pub(crate) async fn until_swapped(&self, term: u64, active: Slot) -> Report {
        let pair = Pair { term, takeover: 0 };
        self.until(active, "active by order", |report| {
            report.role == Role::Active && report.pair == pair
        })
        .await;
        self.until_standby(active.peer()).await
    }

    /// Waits until one slot serves with a pair and the other is its warm standby: the one that
    /// serves.
    #[track_caller]
    pub(crate) fn until_rescued(&self, pair: Pair) -> impl Future<Output = Slot> {
        let caller = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + PATIENCE;
            loop {
                let reports = [self.report(Slot::A).await, self.report(Slot::B).await];
                for (slot, [active, standby]) in Slot::BOTH
                    .into_iter()
                    .zip([[0, 1], [1, 0]].map(|order| order.map(|n| &reports[n])))
                {
                    let serves = active
                        .as_ref()
                        .is_some_and(|report| report.role == Role::Active && report.pair == pair);
                    let follows = standby
                        .as_ref()
                        .is_some_and(|report| report.role == Role::Standby && report.warm);
                    if serves && follows {
                        return slot;
                    }
                }
                assert!(
                    Instant::now() < deadline,
                    "{caller}: no slot serves with {pair}: {reports:#?}"
                );
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }

    /// Whether the slot's container runs.
    pub(crate) fn is_running(&mut self, slot: Slot) -> bool {
        let child = self.slots.of_mut(slot).as_mut().unwrap();
        child.try_wait().unwrap().is_none()
    }

    /// Waits until the slot's log holds a text.
    pub(crate) async fn logged(&self, slot: Slot, text: &str) {
        self.logged_times(slot, text, 1).await;
    }

    /// Waits until the slot's log holds a text at least so many times.
    pub(crate) async fn logged_times(&self, slot: Slot, text: &str, times: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.log(slot).matches(text).count() < times {
            assert!(Instant::now() < deadline, "slot {slot} never logged {text}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    pub(crate) fn log(&self, slot: Slot) -> String {
        std::fs::read_to_string(self.root.path().join(format!("{slot}.log"))).unwrap_or_default()
    }
}

/// Whether the process still runs; one that waits to be reaped does not.
fn is_alive(process: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    stat.is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

impl Drop for Pod {
    fn drop(&mut self) {
        for slot in [Slot::A, Slot::B] {
            self.kill(slot);
            if std::thread::panicking() {
                eprintln!("--- log of slot {slot}\n{}", self.log(slot));
            }
        }
    }
}
