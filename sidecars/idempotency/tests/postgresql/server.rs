//! A PostgreSQL server of our own on loopback, and databases in it.

use std::fs::Permissions;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use parking_lot::Mutex;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const SUPERUSER: &str = "postgres";
const PASSWORD: &str = "of the superuser";
/// The user `nobody`: PostgreSQL does not run as root.
const NOBODY: u32 = 65534;
const READY: &str = "database system is ready to accept connections";

/// A server with a data directory of its own. It ends when it is dropped, and when the thread that
/// started it ends.
pub(crate) struct Server {
    directory: TempDir,
    /// An address of 127.0.0.0/8 that no other server has, so that the port is always free.
    pub(crate) address: Ipv4Addr,
    /// Where a file system is mounted for the server alone, and its size in bytes.
    small_disk: Option<(PathBuf, u64)>,
    running: Mutex<Option<Running>>,
}

struct Running {
    child: Child,
    /// Ends with the last of the server's processes.
    log: JoinHandle<()>,
}

impl Server {
    /// A server that runs.
    pub(crate) fn start() -> Server {
        let server = Server::create();
        server.run();
        server
    }

    /// A server that was never started.
    pub(crate) fn create() -> Server {
        let initdb = Path::new(BINARIES).join("initdb");
        assert!(
            initdb.exists(),
            "these tests need PostgreSQL 15, and {} is not there: `apt-get install postgresql-15` or `make tools` installs it",
            initdb.display()
        );
        let directory = tempfile::Builder::new()
            .prefix("outrigger-postgresql-")
            .tempdir()
            .unwrap();
        give_away(directory.path());
        let password = directory.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        give_away(&password);
        let made = unprivileged(&initdb)
            .arg("--pgdata")
            .arg(directory.path().join("data"))
            .arg("--pwfile")
            .arg(&password)
            .args(["--username", SUPERUSER, "--auth", "scram-sha-256"])
            .args(["--encoding", "UTF8", "--locale", "C"])
            .args(["--wal-segsize", "1", "--no-sync", "--no-instructions"])
            .output()
            .unwrap();
        assert!(made.status.success(), "initdb: {made:?}");
        let [.., a, b, c] = *Uuid::new_v4().as_bytes();
        Server {
            directory,
            address: Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254)),
            small_disk: None,
            running: Mutex::new(None),
        }
    }

    /// A server that runs and sees a small file system of its own, which is gone with it.
    pub(crate) fn with_small_disk(bytes: u64) -> Server {
        let mut server = Server::create();
        let disk = server.directory.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        give_away(&disk);
        server.small_disk = Some((disk, bytes));
        server.run();
        server
    }

    /// The directory on the small file system.
    pub(crate) fn small_disk(&self) -> &Path {
        &self.small_disk.as_ref().unwrap().0
    }

    /// Starts the server with a certificate and its key.
    pub(crate) fn run_with_tls(&self, certificate: &str, key: &str) {
        for (name, content) in [("server.crt", certificate), ("server.key", key)] {
            let file = self.directory.path().join("data").join(name);
            std::fs::write(&file, content).unwrap();
            // The server wants its key for itself.
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            give_away(&file);
        }
        self.run_with(&["-c", "ssl=on"]);
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn run(&self) {
        self.run_with(&["-c", "ssl=off"]);
    }

    fn run_with(&self, options: &[&str]) {
        let server = unprivileged(&Path::new(BINARIES).join("postgres"));
        let mut command = match &self.small_disk {
            Some((directory, bytes)) => in_mount_namespace(&server, directory, *bytes),
            None => server,
        };
        command
            .arg("-D")
            .arg(self.directory.path().join("data"))
            .args(["-c", &format!("listen_addresses={}", self.address)])
            .args(["-c", "unix_socket_directories="])
            .args(options)
            // The machine stays up, and what the kernel has taken survives the server.
            .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
            .args(["-c", "max_connections=60", "-c", "log_min_messages=log"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (told, ready) = mpsc::channel();
        let stderr = child.stderr.take().unwrap();
        let log = std::thread::spawn(move || read_log(stderr, &told));
        let running = Running { child, log };
        // The channel closes when the server ends.
        let lines: Vec<String> = ready
            .iter()
            .take_while(|line| !line.contains(READY))
            .collect();
        if running.log.is_finished() {
            running.end(Signal::KILL);
            panic!("the server ended at once:\n{}", lines.join("\n"));
        }
        *self.running.lock() = Some(running);
    }

    /// Kills the server at once and waits until all of its processes are gone.
    pub(crate) fn kill(&self) {
        let running = self.running.lock().take();
        running.unwrap().end(Signal::KILL);
    }

    /// Stops the server as an administrator does, and waits until all of its processes are gone.
    pub(crate) fn stop(&self) {
        let running = self.running.lock().take();
        running.unwrap().end(Signal::INT);
    }

    /// A superuser's connection.
    pub(crate) async fn connect(&self, database: &str) -> Client {
        let (client, connection) = Config::new()
            .host(self.address.to_string())
            .user(SUPERUSER)
            .password(PASSWORD)
            .dbname(database)
            .connect(NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().take() {
            running.end(Signal::QUIT);
        }
    }
}

impl Running {
    fn end(mut self, signal: Signal) {
        // Not yet waited for, so that the id is still this child's.
        let _ = kill_process(Pid::from_child(&self.child), signal);
        self.child.wait().unwrap();
        self.log.join().unwrap();
    }
}

/// Hands on what the server says until it is ready, and then reads on so that it never waits.
fn read_log(stderr: ChildStderr, told: &mpsc::Sender<String>) {
    for line in BufReader::new(stderr).lines() {
        let _ = told.send(line.unwrap());
    }
}

fn is_root() -> bool {
    geteuid().is_root()
}

fn give_away(path: &Path) {
    if is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// A program that is not root and ends with the thread that starts it.
fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        let id = NOBODY.to_string();
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
    // Not a directory that only root may enter.
    command.current_dir("/");
    command
}

/// The command in a mount namespace of its own, where `directory` is a small file system.
fn in_mount_namespace(command: &Command, directory: &Path, bytes: u64) -> Command {
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]);
    let owner = match is_root() {
        true => format!(",uid={NOBODY},gid={NOBODY}"),
        false => {
            unshare.args(["--map-current-user", "--keep-caps"]);
            String::new()
        }
    };
    unshare
        .args([
            "sh",
            "-ec",
            "mount -t tmpfs -o \"$1\" tmpfs \"$2\"; shift 2; exec \"$@\"",
            "sh",
        ])
        .arg(format!("size={bytes},mode=0700{owner}"))
        .arg(directory)
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir("/");
    unshare
}

/// A database with an owner of its own.
pub(crate) struct Database {
    pub(crate) server: Arc<Server>,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) password: String,
    /// The certificate of the authority that sidecars trust; else public ones.
    pub(crate) authority: Option<String>,
    /// A superuser's connection to it.
    pub(crate) admin: Client,
}

impl Database {
    pub(crate) async fn create(server: Arc<Server>) -> Database {
        Database::create_with(server, "").await
    }

    /// With more words for `CREATE DATABASE`.
    pub(crate) async fn create_with(server: Arc<Server>, options: &str) -> Database {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let (user, password) = (format!("{name}_user"), "first".to_owned());
        let postgres = server.connect("postgres").await;
        for statement in [
            format!("CREATE ROLE {user} LOGIN PASSWORD '{password}'"),
            format!("CREATE DATABASE {name} OWNER {user} {options}"),
        ] {
            postgres.batch_execute(&statement).await.unwrap();
        }
        let admin = server.connect(&name).await;
        Database {
            server,
            name,
            user,
            password,
            authority: None,
            admin,
        }
    }

    /// Runs a statement as superuser; `{db}` and `{user}` stand for the names.
    pub(crate) async fn execute(&self, statement: &str) {
        let statement = statement
            .replace("{db}", &self.name)
            .replace("{user}", &self.user);
        self.admin.batch_execute(&statement).await.unwrap();
    }

    /// The number that a query gives.
    pub(crate) async fn number(&self, query: &str) -> i64 {
        self.admin.query_one(query, &[]).await.unwrap().get(0)
    }

    /// How many entries are stored.
    pub(crate) async fn entries(&self) -> i64 {
        self.number("SELECT count(*) FROM outrigger_entries").await
    }

    /// Ends the sidecars' connections, as a restart or an administrator does.
    pub(crate) async fn end_connections(&self) {
        // Waits up to 10 s until each is gone.
        let query = "SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, 10000))
            FROM pg_stat_activity WHERE usename = $1";
        let row = self.admin.query_one(query, &[&self.user]).await.unwrap();
        assert_eq!(row.get::<_, i64>(0), 0);
    }

    /// How many connections sidecars have open.
    pub(crate) async fn connections(&self) -> i64 {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1";
        let row = self.admin.query_one(query, &[&self.user]).await.unwrap();
        row.get(0)
    }
}
