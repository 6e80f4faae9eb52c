//! PostgreSQL 15 for the applications in the cluster, with TLS by the cluster's authority for those
//! that ask for it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Tool;
use crate::daemon::{self, Daemon};
use crate::error::{FileContext, Result};
use crate::layout::{Layout, remove_tree, write_file};
use crate::{network, wait};

pub(crate) const NAME: &str = "postgres";
const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const PORT: u16 = 5432;
const USER: &str = "outrigger";
const PASSWORD: &str = "outrigger";
const DATABASE: &str = "outrigger";
/// The Debian package's user: PostgreSQL does not run as root.
const SYSTEM_USER: &str = "postgres";

/// How to reach the lab's PostgreSQL, from the host and from pods. In the cluster it is also the
/// Service `postgresql` in the namespace `database`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Postgres {
    /// Address and port.
    pub address: SocketAddr,
    /// A superuser.
    pub user: &'static str,
    /// Its password.
    pub password: &'static str,
    /// A database that belongs to it.
    pub database: &'static str,
    /// The certificate of the authority that signed the server's certificate, which is valid for
    /// the address and for `postgresql.database.svc`. Connections without TLS are accepted too.
    pub authority: PathBuf,
}

impl Postgres {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            address: (network::POSTGRES, PORT).into(),
            user: USER,
            password: PASSWORD,
            database: DATABASE,
            authority: layout.pki("ca.crt"),
        }
    }

    /// All of it as one connection string.
    pub fn url(&self) -> String {
        format!(
            "postgresql://{}:{}@{}/{}",
            self.user, self.password, self.address, self.database
        )
    }
}

/// Makes the data directory and the database if they are missing, lets the server run, and waits
/// until it answers.
pub(crate) fn ensure(layout: &Layout) -> Result<()> {
    if !data(layout).exists() {
        initialize(layout)?;
    }
    for (file, mode) in [("postgres.crt", "0644"), ("postgres.key", "0600")] {
        install(&layout.pki(file), &home(layout).join(file), mode).run()?;
    }
    if daemon::running(layout, NAME).is_none() {
        // A killed server's, whose number may be another process's by now: the server would not
        // start beside it. Nothing else of ours can be at the data; see `Daemon::ensure`.
        match fs::remove_file(data(layout).join("postmaster.pid")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).at("remove the lock file in", &data(layout));
            }
            _ => {}
        }
    }
    daemon(layout)?.ensure(layout)?;
    wait::until("PostgreSQL", Duration::from_secs(60), || {
        daemon::check_alive(layout, NAME)?;
        let host = network::POSTGRES.to_string();
        let ready = Tool::new(binary("pg_isready"))
            .args(["-q", "-h", &host, "-d", "postgres"])
            .run();
        Ok(ready.map_err(|error| error.to_string()))
    })?;
    let exists = query(&format!(
        "SELECT 1 FROM pg_database WHERE datname = '{DATABASE}'"
    ))?;
    if exists.trim().is_empty() {
        query(&format!("CREATE DATABASE {DATABASE}"))?;
    }
    Ok(())
}

fn query(sql: &str) -> Result<String> {
    let host = network::POSTGRES.to_string();
    let psql = Tool::new(binary("psql")).args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-h",
        &host,
    ]);
    Ok(psql
        .args(["-U", USER, "-d", "postgres", "-c", sql])
        .env("PGPASSWORD", PASSWORD)
        .run()?)
}

/// The directory of everything that belongs to the system user.
fn home(layout: &Layout) -> PathBuf {
    layout.data(NAME)
}

fn data(layout: &Layout) -> PathBuf {
    home(layout).join("data")
}

/// Copies a file so that it belongs to the system user.
fn install(from: &Path, to: &Path, mode: &str) -> Tool {
    Tool::new("install")
        .args(["-o", SYSTEM_USER, "-g", SYSTEM_USER, "-m", mode])
        .arg(from)
        .arg(to)
}

fn initialize(layout: &Layout) -> Result<()> {
    let home = home(layout);
    remove_tree(&home)?;
    if let Some(parent) = home.parent() {
        fs::create_dir_all(parent).at("create", parent)?;
    }
    Tool::line("install -d -m 0700")
        .args(["-o", SYSTEM_USER, "-g", SYSTEM_USER])
        .arg(&home)
        .run()?;
    let (password, partial) = (home.join("password"), home.join("data.partial"));
    install(Path::new("/dev/stdin"), &password, "0600")
        .stdin(PASSWORD)
        .run()?;
    Tool::new("setpriv")
        .args(PRIVILEGES)
        .arg(binary("initdb"))
        .args([
            "--username",
            USER,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ])
        .arg("--pwfile")
        .arg(&password)
        .arg("--pgdata")
        .arg(&partial)
        .directory("/")
        .run()?;
    fs::rename(&partial, data(layout)).at("create", &data(layout))
}

fn daemon(layout: &Layout) -> Result<Daemon> {
    let access = layout.config("pg_hba.conf");
    write_file(
        &access,
        format!("host all all {} scram-sha-256\n", network::EVERYTHING),
    )?;
    let own = |file: &str| home(layout).join(file).display().to_string();
    let settings = [
        ("listen_addresses", network::POSTGRES.to_string()),
        ("port", PORT.to_string()),
        ("unix_socket_directories", String::new()),
        ("hba_file", access.display().to_string()),
        ("ssl", "on".to_owned()),
        ("ssl_cert_file", own("postgres.crt")),
        ("ssl_key_file", own("postgres.key")),
        ("max_connections", "300".to_owned()),
        // In its data directory, not in the machine's /dev/shm, where a killed server leaves it.
        ("dynamic_shared_memory_type", "mmap".to_owned()),
    ];
    // With IPC of its own, for the same reason: a segment of System V's shared memory outlives a kill.
    let mut args = vec!["--ipc".to_owned(), "--".to_owned(), "setpriv".to_owned()];
    args.extend(PRIVILEGES.map(str::to_owned));
    args.extend([
        binary("postgres").display().to_string(),
        "-D".to_owned(),
        data(layout).display().to_string(),
    ]);
    args.extend(
        settings
            .into_iter()
            .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]),
    );
    Ok(Daemon {
        name: NAME.to_owned(),
        program: PathBuf::from("unshare"),
        args,
        namespaces: network::control_plane(layout),
        inputs: vec![access, layout.pki("postgres.crt")],
    })
}

const PRIVILEGES: [&str; 4] = [
    "--reuid=postgres",
    "--regid=postgres",
    "--clear-groups",
    "--",
];

fn binary(name: &str) -> PathBuf {
    Path::new(BINARIES).join(name)
}
