//! What there is of the lab on this machine: how `down` knows that nothing is left.
//!
//! Two ways of looking complete each other. Marks (names and addresses that only the lab uses) find
//! what an earlier lab left. Numbers of processes and namespaces, taken while the lab is up, find
//! what no longer bears a mark: a process that left its control group, or a namespace that lives on
//! although its name is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::cgroup::Cgroups;
use crate::command::Tool;
use crate::error::Result;
use crate::layout::Layout;
use crate::mounts::Mounts;
use crate::process::{self, Identity};
use crate::{mounts, network, packages, sysctl};

/// The kinds of namespaces that the lab makes, as in `/proc/[pid]/ns`.
const KINDS: [&str; 3] = ["net", "mnt", "uts"];

/// One namespace: its kind and inode number.
type NamespaceId = (&'static str, u64);

/// What there was of the lab when it was taken.
#[derive(Clone, Debug)]
pub struct Inventory {
    layout: Layout,
    processes: Vec<Identity>,
    namespaces: BTreeSet<NamespaceId>,
    sysctls: BTreeMap<String, String>,
    traces: Vec<String>,
}

impl Inventory {
    pub(crate) fn take_of(layout: &Layout) -> Result<Self> {
        let namespaces = held_namespaces(layout)?;
        let mut pids = Cgroups::detect()?.pids("");
        pids.extend(processes_in(&namespaces).into_keys());
        let mut inventory = Self {
            layout: layout.clone(),
            processes: pids.into_iter().filter_map(Identity::of).collect(),
            namespaces,
            sysctls: sysctl::kept(layout),
            traces: Vec::new(),
        };
        inventory.traces = inventory.look()?;
        Ok(inventory)
    }

    /// Kills the processes that were there: also a shell on a node, which is in no group of the lab.
    pub(crate) fn kill(&self) {
        for process in &self.processes {
            process.end(Signal::KILL, Duration::from_secs(5));
        }
    }

    /// What was there, one line each.
    pub fn traces(&self) -> &[String] {
        &self.traces
    }

    /// What of it, or of any lab, is there now, one line each; empty after a clean `down`.
    ///
    /// # Errors
    /// If the machine's tables cannot be read.
    pub fn left(&self) -> Result<Vec<String>> {
        self.look()
    }

    fn look(&self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let cgroups = Cgroups::detect()?;
        let mut pids = cgroups.pids("");
        pids.extend(
            self.processes
                .iter()
                .filter(|process| process.is_alive())
                .map(|process| process.pid),
        );
        let inside = processes_in(&self.namespaces);
        pids.extend(inside.keys());
        found.extend(
            pids.into_iter()
                .map(|pid| format!("process {pid} ({})", name_of(pid))),
        );
        found.extend(
            cgroups
                .directories("")
                .into_iter()
                .map(|group| format!("control group {}", group.display())),
        );
        let alive: BTreeSet<_> = inside.into_values().flatten().collect();
        found.extend(
            alive
                .into_iter()
                .map(|(kind, inode)| format!("{kind} namespace {inode}")),
        );
        found.extend(self.mounts_everywhere()?);
        found.extend(network::traces()?);
        found.extend(changed(&self.sysctls, &sysctl::read()));
        found.extend(packages::trace());
        if self.layout.settings().exists() {
            found.push(format!("directory {}", self.layout.state().display()));
        }
        Ok(found)
    }

    /// The lab's mounts in the mount namespaces of all processes but the lab's own.
    fn mounts_everywhere(&self) -> Result<Vec<String>> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        for (pid, mounts) in mounts::everywhere() {
            if namespace_of(pid, "mnt").is_some_and(|id| !self.namespaces.contains(&id)) {
                found.extend(lab_mounts(&mounts, self.layout.state()));
            }
        }
        found.extend(lab_mounts(&mounts::current()?, self.layout.state()));
        Ok(found.into_iter().collect())
    }
}

fn lab_mounts<'a>(mounts: &'a Mounts, state: &'a Path) -> impl Iterator<Item = String> + 'a {
    mounts
        .below(state)
        .map(|mount| format!("mount {} ({})", mount.point.display(), mount.kind))
}

/// The namespaces that the lab's files hold.
fn held_namespaces(layout: &Layout) -> Result<BTreeSet<NamespaceId>> {
    let mut held = BTreeSet::new();
    for mount in mounts::current()?
        .below(&layout.namespaces())
        .filter(|mount| mount.kind == "nsfs")
    {
        let kind = mount
            .point
            .extension()
            .and_then(|kind| KINDS.into_iter().find(|known| kind == *known));
        if let (Some(kind), Ok(file)) = (kind, fs::metadata(&mount.point)) {
            held.insert((kind, file.ino()));
        }
    }
    Ok(held)
}

/// The processes that are in one of the namespaces, and in which.
fn processes_in(namespaces: &BTreeSet<NamespaceId>) -> BTreeMap<u32, Vec<NamespaceId>> {
    let in_lab = |pid| {
        KINDS
            .into_iter()
            .filter_map(move |kind| namespace_of(pid, kind))
            .filter(|id| namespaces.contains(id))
    };
    process::all_pids()
        .into_iter()
        .map(|pid| (pid, in_lab(pid).collect::<Vec<_>>()))
        .filter(|(_, ids)| !ids.is_empty())
        .collect()
}

fn namespace_of(pid: u32, kind: &'static str) -> Option<NamespaceId> {
    Some((kind, process::namespace(pid, kind)?))
}

fn name_of(pid: u32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm"))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The settings that differ from what was kept of them.
fn changed(kept: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> Vec<String> {
    kept.iter()
        .filter_map(|(name, before)| {
            let now = now.get(name)?;
            (now != before).then(|| format!("kernel setting {name} is {now}, was {before}"))
        })
        .collect()
}

/// The lines of a listing of routes or rules that name the lab's addresses or its link.
pub(crate) fn lines_of_lab<'a>(
    what: &'a str,
    listing: &'a str,
) -> impl Iterator<Item = String> + 'a {
    listing
        .lines()
        .filter(|line| {
            line.split(|character: char| character.is_whitespace() || character == ',')
                .any(|word| {
                    word.starts_with("198.18.")
                        || word.starts_with("198.19.")
                        || word == network::HOST_LINK
                })
        })
        .map(move |line| format!("{what} {}", line.trim()))
}

/// The listing of a command; a machine without the program has none of its objects.
pub(crate) fn listing(command: &str) -> String {
    Tool::line(command).run().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn empty(state: &Path) -> Inventory {
        Inventory {
            layout: Layout::below(state),
            processes: Vec::new(),
            namespaces: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            traces: Vec::new(),
        }
    }

    #[test]
    fn a_process_in_a_namespace_of_the_lab_is_found_by_the_namespace_alone() {
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let own = namespace_of(child.id(), "net").unwrap();
        assert_eq!(processes_in(&BTreeSet::from([own]))[&child.id()], [own]);
        assert_eq!(processes_in(&BTreeSet::from([("net", 1)])), BTreeMap::new());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn a_process_that_outlived_the_lab_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let mut child = Command::new("sleep")
            .arg("600")
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let process = Identity::of(child.id()).unwrap();
        let inventory = Inventory {
            processes: vec![process],
            ..empty(directory.path())
        };
        let line = format!("process {} (sleep)", child.id());
        let alive = inventory.processes.iter().any(Identity::is_alive);
        assert!(alive);
        assert!(inventory.left().unwrap().contains(&line));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!inventory.left().unwrap().contains(&line));
    }

    #[test]
    fn a_state_directory_that_stayed_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let inventory = empty(directory.path());
        let line = format!("directory {}", directory.path().display());
        assert!(!inventory.left().unwrap().contains(&line));
        fs::write(inventory.layout.settings(), "{}").unwrap();
        assert!(inventory.left().unwrap().contains(&line));
    }

    #[test]
    fn routes_and_rules_of_the_lab_are_told_from_those_of_others() {
        let listing = "default via 192.0.2.1 dev eth0\n198.18.0.0/24 via 198.18.255.2 dev outrigger0\n\
                       10.0.0.0/8 dev outrigger0\n10.198.18.0/24 dev eth1\n";
        let found: Vec<_> = lines_of_lab("route", listing).collect();
        assert_eq!(
            found,
            [
                "route 198.18.0.0/24 via 198.18.255.2 dev outrigger0",
                "route 10.0.0.0/8 dev outrigger0"
            ]
        );
    }

    #[test]
    fn a_kernel_setting_that_was_not_put_back_is_told_with_both_values() {
        let table = |value: &str| BTreeMap::from([("kernel.panic".to_owned(), value.to_owned())]);
        assert_eq!(
            changed(&table("0"), &table("10")),
            ["kernel setting kernel.panic is 10, was 0"]
        );
        assert_eq!(changed(&table("0"), &table("0")), Vec::<String>::new());
    }
}
