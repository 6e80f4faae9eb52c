//! Processes, known by number and start time, so that a reused number is never taken for ours.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid,
};
use serde::{Deserialize, Serialize};

/// A process at one point of its machine's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) pid: u32,
    /// Clock ticks from the machine's start to the process's.
    pub(crate) start_time: u64,
    /// Tells one run of the machine from the next.
    pub(crate) boot_id: String,
}

impl Identity {
    /// The identity of a process that is there now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = Stat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
        stat.running().then(|| Self {
            pid,
            start_time: stat.start_time,
            boot_id: boot_id(),
        })
    }

    /// Whether the process still runs.
    pub(crate) fn is_alive(&self) -> bool {
        self.reap();
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends a signal, and waits for the end of the process at most so long. True if it ended.
    pub(crate) fn end(&self, signal: Signal, patience: Duration) -> bool {
        let Some(descriptor) = open(self.pid) else {
            return true;
        };
        // The descriptor is pinned to one process; was it still ours when it was opened?
        if !self.is_alive() {
            return true;
        }
        let _ = pidfd_send_signal(&descriptor, signal);
        let ended = await_end(&descriptor, patience);
        self.reap();
        ended
    }

    /// Takes the exit status, if the process was started by this one; otherwise init does.
    fn reap(&self) {
        if let Some(pid) = Pid::from_raw(self.pid.cast_signed()) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Kills the processes and waits for their end at most so long in all.
pub(crate) fn kill_all(pids: impl IntoIterator<Item = u32>, patience: Duration) {
    let known: Vec<_> = pids
        .into_iter()
        .filter_map(|pid| Some((Identity::of(pid)?, open(pid)?)))
        .collect();
    for (_, descriptor) in &known {
        let _ = pidfd_send_signal(descriptor, Signal::KILL);
    }
    let deadline = Instant::now() + patience;
    for (identity, descriptor) in &known {
        await_end(
            descriptor,
            deadline.saturating_duration_since(Instant::now()),
        );
        identity.reap();
    }
}

fn open(pid: u32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()
}

fn await_end(descriptor: &OwnedFd, patience: Duration) -> bool {
    let timeout = Timespec {
        tv_sec: i64::try_from(patience.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: patience.subsec_nanos().into(),
    };
    let mut waited = [PollFd::new(descriptor, PollFlags::IN)];
    matches!(poll(&mut waited, Some(&timeout)), Ok(ready) if ready > 0)
}

/// The numbers of all processes.
pub(crate) fn all_pids() -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The inode number of a process's namespace of a kind (`net`, `mnt`, …).
pub(crate) fn namespace(pid: u32, kind: &str) -> Option<u64> {
    Some(fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino())
}

/// The identity of this run of the machine.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The fields that matter of proc(5), `/proc/[pid]/stat`.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    start_time: u64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<_> = rest.split_ascii_whitespace().collect();
        Some(Self {
            state: fields.first()?.chars().next()?,
            start_time: fields.get(19)?.parse().ok()?,
        })
    }

    fn running(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let text = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(
            Stat::parse(text),
            Some(Stat {
                state: 'S',
                start_time: 98765
            })
        );
    }

    #[test]
    fn another_start_time_is_another_process() {
        let mine = Identity::of(std::process::id()).unwrap();
        assert!(mine.is_alive());
        assert!(
            !Identity {
                start_time: mine.start_time + 1,
                ..mine.clone()
            }
            .is_alive()
        );
        assert!(
            !Identity {
                boot_id: "earlier".into(),
                ..mine
            }
            .is_alive()
        );
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "what is tested waits for it")]
    fn ending_waits_for_the_end_and_leaves_no_zombie() {
        let child = Command::new("sleep").arg("600").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(identity.end(Signal::TERM, Duration::from_secs(20)));
        assert!(!identity.is_alive());
        assert!(!std::path::Path::new(&format!("/proc/{}", identity.pid)).exists());
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "what is tested waits for it")]
    fn a_process_that_ignores_the_signal_is_reported_as_still_there() {
        let mut child = Command::new("sh")
            .args(["-c", "trap '' TERM; echo ready; while :; do read x; done"])
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let identity = Identity::of(child.id()).unwrap();
        assert!(!identity.end(Signal::TERM, Duration::from_millis(50)));
        kill_all([identity.pid], Duration::from_secs(20));
        assert!(!identity.is_alive());
    }
}
