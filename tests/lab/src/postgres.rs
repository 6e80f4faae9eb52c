//! PostgreSQL 15 for the applications in the cluster.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use crate::command::Tool;
use crate::daemon::{self, Daemon};
use crate::error::{FileContext, Result};
use crate::layout::{Layout, remove_tree, write_file};
use crate::{network, wait};

pub(crate) const NAME: &str = "postgres";
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const USER: &str = "outrigger";
const PASSWORD: &str = "outrigger";
const DATABASE: &str = "outrigger";
/// The Debian package's user: PostgreSQL does not run as root.
const SYSTEM_USER: &str = "postgres";

/// The lab's PostgreSQL: one server, the superuser `outrigger`, the database `outrigger`.
#[derive(Debug)]
pub struct Postgres<'a> {
    layout: &'a Layout,
}

impl<'a> Postgres<'a> {
    pub(crate) fn new(layout: &'a Layout) -> Self {
        Self { layout }
    }

    /// The address, with user and password, from the host and from pods.
    pub fn url(&self) -> String {
        format!("postgresql://{USER}:{PASSWORD}@{}:5432/{DATABASE}", network::POSTGRES)
    }

    /// Lets the server run, and waits until it answers.
    ///
    /// # Errors
    /// If it ends at once or does not answer within 60 s; the error quotes its log.
    pub fn start(&self) -> Result<()> {
        self.daemon()?.ensure(self.layout)?;
        wait::until("PostgreSQL", Duration::from_secs(60), || {
            daemon::check_alive(self.layout, NAME)?;
            let host = network::POSTGRES.to_string();
            let ready = Tool::new(binary("pg_isready")).args(["-q", "-h", &host, "-d", "postgres"]).run();
            Ok(ready.map_err(|error| error.to_string()))
        })?;
        Ok(())
    }

    /// Stops the server in an orderly way: open transactions are rolled back, connections closed.
    ///
    /// # Errors
    /// If processes of it cannot be ended.
    pub fn stop(&self) -> Result<()> {
        // PostgreSQL's "fast shutdown".
        daemon::stop(self.layout, NAME, Signal::INT, Duration::from_secs(30))
    }

    /// Kills the server and all its connections' processes at once, as a crash would.
    ///
    /// # Errors
    /// If processes of it cannot be ended.
    pub fn kill(&self) -> Result<()> {
        daemon::stop(self.layout, NAME, Signal::KILL, Duration::from_secs(10))
    }

    /// [`Postgres::stop`] and [`Postgres::start`].
    ///
    /// # Errors
    /// As these two.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }

    /// Makes the data directory and the database if they are missing, and lets the server run.
    pub(crate) fn ensure(&self) -> Result<()> {
        if !self.data().exists() {
            self.initialize()?;
        }
        self.start()?;
        let exists = self.query(&format!("SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"))?;
        if exists.trim().is_empty() {
            self.query(&format!("CREATE DATABASE {DATABASE}"))?;
        }
        Ok(())
    }

    fn query(&self, sql: &str) -> Result<String> {
        let host = network::POSTGRES.to_string();
        let psql = Tool::new(binary("psql")).args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", &host]);
        Ok(psql.args(["-U", USER, "-d", "postgres", "-c", sql]).env("PGPASSWORD", PASSWORD).run()?)
    }

    /// The directory of everything that belongs to the system user.
    fn home(&self) -> PathBuf {
        self.layout.data(NAME)
    }

    fn data(&self) -> PathBuf {
        self.home().join("data")
    }

    fn initialize(&self) -> Result<()> {
        let home = self.home();
        remove_tree(&home)?;
        let owned = ["-o", SYSTEM_USER, "-g", SYSTEM_USER];
        if let Some(parent) = home.parent() {
            std::fs::create_dir_all(parent).at("create", parent)?;
        }
        Tool::line("install -d -m 0700").args(owned).arg(&home).run()?;
        let (password, partial) = (home.join("password"), home.join("data.partial"));
        Tool::line("install -m 0600").args(owned).arg("/dev/stdin").arg(&password).stdin(PASSWORD).run()?;
        Tool::new("setpriv")
            .args(privileges())
            .arg(binary("initdb"))
            .args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--pwfile"])
            .arg(&password)
            .arg("--pgdata")
            .arg(&partial)
            .directory("/")
            .run()?;
        std::fs::rename(&partial, self.data()).at("create", &self.data())
    }

    fn daemon(&self) -> Result<Daemon> {
        let access = self.layout.config("pg_hba.conf");
        write_file(&access, format!("host all all {} scram-sha-256\n", network::EVERYTHING))?;
        let setting = |name: &str, value: &str| ["-c".to_owned(), format!("{name}={value}")];
        let mut args = privileges().map(str::to_owned).to_vec();
        args.extend([binary("postgres").display().to_string(), "-D".to_owned(), self.data().display().to_string()]);
        args.extend(setting("listen_addresses", &network::POSTGRES.to_string()));
        args.extend(setting("unix_socket_directories", ""));
        args.extend(setting("hba_file", &access.display().to_string()));
        args.extend(setting("max_connections", "300"));
        Ok(Daemon {
            name: NAME.to_owned(),
            program: PathBuf::from("setpriv"),
            args,
            namespaces: network::control_plane(self.layout),
            inputs: vec![access],
        })
    }
}

fn privileges() -> [&'static str; 4] {
    ["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]
}

fn binary(name: &str) -> PathBuf {
    Path::new(BINARIES).join(name)
}
