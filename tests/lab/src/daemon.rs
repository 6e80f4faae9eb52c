//! One long-running process of the lab: started once, found again by later runs, restarted when it
//! died or when what it was started with has changed.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::cgroup::Cgroups;
use crate::error::{Error, FileContext, Result};
use crate::layout::{Layout, write_file};
use crate::namespace::Namespaces;
use crate::process::Identity;

/// What a daemon is started with.
#[derive(Clone, Debug)]
pub(crate) struct Daemon {
    /// Its name, which is also its control group: `etcd`, `node-1/kubelet`.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) namespaces: Namespaces,
    /// Files that it reads only when it starts: another content means another daemon.
    pub(crate) inputs: Vec<PathBuf>,
}

/// What [`Daemon::ensure`] found or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ensured {
    AlreadyRunning,
    Started,
}

/// What is kept of a started daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    process: Identity,
    digest: String,
}

/// The process of a component, if it runs.
pub(crate) fn running(layout: &Layout, name: &str) -> Option<Identity> {
    record(layout, name)
        .map(|record| record.process)
        .filter(Identity::is_alive)
}

/// When the component was last started.
pub(crate) fn started_at(layout: &Layout, name: &str) -> Result<SystemTime> {
    let record = layout.record(name);
    fs::metadata(&record)
        .and_then(|found| found.modified())
        .at("read", &record)
}

fn record(layout: &Layout, name: &str) -> Option<Record> {
    serde_json::from_slice(&fs::read(layout.record(name)).ok()?).ok()
}

/// Ends a component: `signal`, then after `patience` a kill of all that is left in its group.
pub(crate) fn stop(layout: &Layout, name: &str, signal: Signal, patience: Duration) -> Result<()> {
    if let Some(process) = running(layout, name) {
        process.end(signal, patience);
    }
    Cgroups::detect()?.kill(name)?;
    match fs::remove_file(layout.record(name)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).at("remove", &layout.record(name))
        }
        _ => Ok(()),
    }
}

/// The last lines of a component's log.
pub(crate) fn log_tail(layout: &Layout, name: &str) -> String {
    const LINES: usize = 15;
    let text = fs::read(layout.log(name)).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}

/// An error if the component has ended.
pub(crate) fn check_alive(layout: &Layout, name: &str) -> Result<()> {
    if running(layout, name).is_some() {
        return Ok(());
    }
    Err(Error::Ended {
        name: name.to_owned(),
        log: layout.log(name),
        tail: log_tail(layout, name),
    })
}

impl Daemon {
    /// Lets it run: as it is, if it runs with this configuration in these namespaces; else anew.
    pub(crate) fn ensure(&self, layout: &Layout) -> Result<Ensured> {
        let digest = self.digest()?;
        let fits = |record: &Record| {
            record.digest == digest
                && record.process.is_alive()
                && self.namespaces.contain(record.process.pid)
        };
        if record(layout, &self.name).as_ref().is_some_and(fits) {
            return Ok(Ensured::AlreadyRunning);
        }
        stop(layout, &self.name, Signal::TERM, Duration::from_secs(10))?;
        self.start(layout, digest)?;
        Ok(Ensured::Started)
    }

    fn start(&self, layout: &Layout, digest: String) -> Result<()> {
        // Its groups hold it even if this program dies before it could write the record.
        let mut words = Cgroups::detect()?.join_command(&self.name)?.into_iter();
        let log = layout.log(&self.name);
        if let Some(directory) = log.parent() {
            fs::create_dir_all(directory).at("create", directory)?;
        }
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .at("open", &log)?;
        let mut command = Command::new(words.next().unwrap_or_default());
        command
            .args(words)
            .arg("setsid")
            .args(self.namespaces.enter_command())
            .arg(&self.program)
            .args(&self.args)
            .current_dir("/")
            // The caller's environment, proxies above all, is none of the daemons' business.
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", "/root")
            .stdin(Stdio::null())
            .stdout(output.try_clone().at("open", &log)?)
            .stderr(output);
        let child = command.spawn().at("start a shell for", &self.program)?;
        let Some(process) = Identity::of(child.id()) else {
            return check_alive(layout, &self.name);
        };
        let record = Record { process, digest };
        write_file(
            &layout.record(&self.name),
            serde_json::json!(record).to_string(),
        )
    }

    fn digest(&self) -> Result<String> {
        let mut digest = Sha256::new();
        let mut part = |bytes: &[u8]| {
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        };
        part(self.program.as_os_str().as_encoded_bytes());
        for argument in &self.args {
            part(argument.as_bytes());
        }
        for input in &self.inputs {
            part(&fs::read(input).at("read", input)?);
        }
        Ok(hex(&digest.finalize()))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
