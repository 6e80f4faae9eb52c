//! Processes of containers, as this machine sees them: the lab's nodes share its process numbers.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};
use k8s_openapi::api::core::v1::ContainerStatus;
use rustix::process::{Pid, Signal, kill_process};

/// A process of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number on this machine.
    pub pid: Pid,
    /// Its number in its container.
    pub inner: u32,
}

/// The processes of a container.
///
/// # Errors
/// When it does not run.
pub fn of(container: &ContainerStatus) -> anyhow::Result<Vec<Process>> {
    let name = &container.name;
    let id = container.container_id.as_deref();
    let id = id.and_then(|id| id.split_once("://")).map(|(_, id)| id);
    let id = id.with_context(|| format!("container {name} has not been created"))?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let groups = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if groups.contains(id) {
            found.extend(process(&entry.path()));
        }
    }
    ensure!(!found.is_empty(), "container {name} ({id}) has no process");
    Ok(found)
}

/// Process 1 of a container.
///
/// # Errors
/// When it does not run.
pub fn first(container: &ContainerStatus) -> anyhow::Result<Process> {
    let mut processes = of(container)?.into_iter();
    let first = processes.find(|process| process.inner == 1);
    first.with_context(|| format!("container {} has no process 1", container.name))
}

/// The worker of a slot: its only process besides the first.
///
/// # Errors
/// When there is none, or more than one.
pub fn worker(slot: &ContainerStatus) -> anyhow::Result<Process> {
    let others: Vec<_> = of(slot)?
        .into_iter()
        .filter(|process| process.inner != 1)
        .collect();
    let name = &slot.name;
    match others[..] {
        [worker] => Ok(worker),
        _ => anyhow::bail!("slot {name} has {} workers", others.len()),
    }
}

impl Process {
    /// `kill -9`.
    ///
    /// # Errors
    /// When it has ended.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)
    }

    /// Its resident memory in bytes, by proc_pid_status(5).
    pub fn resident(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes << 10)
    }

    /// Tells it to stop.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        kill_process(self.pid, signal)
            .with_context(|| format!("cannot send {signal:?} to process {:?}", self.pid))
    }
}

/// Reads `NSpid` of proc_pid_status(5): the numbers from this namespace to the innermost.
fn process(directory: &Path) -> Option<Process> {
    let status = fs::read_to_string(directory.join("status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?;
    let numbers: Vec<i32> = line
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    Some(Process {
        pid: Pid::from_raw(*numbers.first()?)?,
        inner: u32::try_from(*numbers.last()?).ok()?,
    })
}
