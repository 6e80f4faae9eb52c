//! The lab's control groups. Every process of the lab, pods included, is below one group of each
//! hierarchy; that is how the lab finds what it has to stop.
//!
//! Works on version 1 hosts (one hierarchy for each controller, with or without a `unified` one
//! beside them) and on version 2 hosts (one hierarchy).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::StatVfsMountFlags;

use crate::error::{Error, FileContext, Result};
use crate::mounts::Mounts;
use crate::{mounts, process};

/// The name of the lab's group in each hierarchy.
pub(crate) const ROOT: &str = "outrigger-lab";

/// One hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Hierarchy {
    point: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One { cpuset: bool },
    Two,
}

/// The hierarchies of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cgroups {
    hierarchies: Vec<Hierarchy>,
}

impl Cgroups {
    pub(crate) fn detect() -> Result<Self> {
        let cgroups = Self::from_mounts(&mounts::current()?);
        if cgroups.hierarchies.is_empty() {
            let advice = "no control groups are mounted below /sys/fs/cgroup; run on the host or in a privileged container";
            return Err(Error::Requirements(vec![advice.to_owned()]));
        }
        Ok(cgroups)
    }

    fn from_mounts(mounts: &Mounts) -> Self {
        let hierarchies = mounts
            .0
            .iter()
            .filter(|mount| mount.point.starts_with("/sys/fs/cgroup"))
            .filter_map(|mount| {
                let version = match mount.kind.as_str() {
                    "cgroup" => Version::One {
                        cpuset: mount.options.split(',').any(|option| option == "cpuset"),
                    },
                    "cgroup2" => Version::Two,
                    _ => return None,
                };
                Some(Hierarchy {
                    point: mount.point.clone(),
                    version,
                })
            })
            .collect();
        Self { hierarchies }
    }

    /// Why the lab cannot make groups here, one line each.
    pub(crate) fn lacks(&self) -> Result<Vec<String>> {
        let mut lacks = Vec::new();
        for Hierarchy { point, version } in &self.hierarchies {
            let flags = rustix::fs::statvfs(point).at("look at", point)?.f_flag;
            let shown = point.display();
            if flags.contains(StatVfsMountFlags::RDONLY) {
                lacks.push(format!(
                    "{shown} is mounted read-only; in a container, run it with --privileged"
                ));
            }
            let holds = |file: &str| !fs::read(point.join(file)).unwrap_or_default().is_empty();
            // Only the machine's own root group, which has no type, may hold processes and give
            // controllers to groups below it.
            if *version == Version::Two
                && ["cgroup.type", "cgroup.procs", "cgroup.controllers"]
                    .into_iter()
                    .all(holds)
            {
                lacks.push(format!(
                    "{shown} is a container's own group and holds its processes, so that no group \
                     below it can have controllers; start the container with --cgroupns=host"
                ));
            }
        }
        Ok(lacks)
    }

    /// Whether kubelet has to be told to accept version 1.
    pub(crate) fn is_version_1(&self) -> bool {
        self.hierarchies
            .iter()
            .any(|hierarchy| matches!(hierarchy.version, Version::One { .. }))
    }

    /// Makes `group` (relative to the lab's own) in every hierarchy. Returns the directories.
    pub(crate) fn ensure(&self, group: &str) -> Result<Vec<PathBuf>> {
        self.hierarchies
            .iter()
            .map(|hierarchy| hierarchy.ensure(&Path::new(ROOT).join(group)))
            .collect()
    }

    /// The words to put before a command so that it runs in `group`, which is made. The process
    /// joins before it becomes the command, so that the group holds it from its beginning.
    pub(crate) fn join_command(&self, group: &str) -> Result<Vec<OsString>> {
        const JOIN_AND_BECOME: &str = r#"while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs"; shift; done; shift; exec "$@""#;
        let mut words: Vec<OsString> = ["sh", "-e", "-c", JOIN_AND_BECOME, "sh"]
            .map(OsString::from)
            .to_vec();
        words.extend(self.ensure(group)?.into_iter().map(PathBuf::into_os_string));
        words.push("--".into());
        Ok(words)
    }

    /// The processes in `group` and below it.
    ///
    /// Those of the whole lab (`""`) are sought in every hierarchy. For a part of it, where there
    /// are hierarchies of version 1, only these count: containerd moves its shims out of its own
    /// group in no other, and they have to outlive it.
    pub(crate) fn pids(&self, group: &str) -> BTreeSet<u32> {
        let mut pids = BTreeSet::new();
        let only_version_1 = !group.is_empty() && self.is_version_1();
        let counts = |hierarchy: &&Hierarchy| !only_version_1 || hierarchy.version != Version::Two;
        for directory in directories(self.hierarchies.iter().filter(counts), group) {
            let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
            pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        }
        // In a process namespace of its own, processes outside of it read as 0.
        pids.remove(&0);
        pids
    }

    /// The directories of `group` and below it in all hierarchies, each after those below it.
    pub(crate) fn directories(&self, group: &str) -> Vec<PathBuf> {
        directories(self.hierarchies.iter(), group)
    }

    /// Kills every process in `group` and below it.
    pub(crate) fn kill(&self, group: &str) -> Result<()> {
        let patience = Duration::from_secs(30);
        let start = Instant::now();
        loop {
            let pids = self.pids(group);
            if pids.is_empty() {
                return Ok(());
            }
            if start.elapsed() > patience {
                let last = format!("processes {pids:?} do not end");
                return Err(Error::Timeout {
                    what: format!("the end of group {group:?}"),
                    waited: patience,
                    last,
                });
            }
            process::kill_all(pids, Duration::from_secs(5));
        }
    }

    /// Removes `group` and all below it, which must be empty of processes.
    pub(crate) fn remove(&self, group: &str) -> Result<()> {
        let patience = Duration::from_secs(10);
        let start = Instant::now();
        for directory in self.directories(group) {
            loop {
                match fs::remove_dir(&directory) {
                    Ok(()) => break,
                    Err(error) if error.kind() == ErrorKind::NotFound => break,
                    // The kernel lets go of a group a moment after its last process has ended.
                    Err(error)
                        if error.kind() == ErrorKind::ResourceBusy
                            && start.elapsed() < patience =>
                    {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    Err(error) => return Err(error).at("remove", &directory),
                }
            }
        }
        Ok(())
    }
}

impl Hierarchy {
    fn ensure(&self, group: &Path) -> Result<PathBuf> {
        let mut directory = self.point.clone();
        for part in group.components() {
            if self.version == Version::Two {
                delegate(&directory)?;
            }
            let parent = directory.clone();
            directory.push(part);
            fs::create_dir_all(&directory).at("create", &directory)?;
            if self.version == (Version::One { cpuset: true }) {
                inherit_cpuset(&parent, &directory)?;
            }
        }
        Ok(directory)
    }
}

/// A new cpuset is empty and takes no process until it has processors and memory nodes.
fn inherit_cpuset(parent: &Path, child: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        let (from, to) = (parent.join(name), child.join(name));
        if fs::read_to_string(&to).at("read", &to)?.trim().is_empty() {
            fs::write(&to, fs::read(&from).at("read", &from)?).at("write", &to)?;
        }
    }
    Ok(())
}

/// Version 2: lets the children of a group have the controllers that the group has.
fn delegate(directory: &Path) -> Result<()> {
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap_or_default();
    let (available, delegated) = (read("cgroup.controllers"), read("cgroup.subtree_control"));
    let delegated: BTreeSet<_> = delegated.split_whitespace().collect();
    let missing: Vec<_> = available
        .split_whitespace()
        .filter(|controller| !delegated.contains(controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let file = directory.join("cgroup.subtree_control");
    fs::write(&file, missing.join(" ")).at("delegate controllers in", &file)
}

fn directories<'a>(hierarchies: impl Iterator<Item = &'a Hierarchy>, group: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for hierarchy in hierarchies {
        walk(&hierarchy.point.join(ROOT).join(group), &mut found);
    }
    found
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&entry.path(), found);
        }
    }
    found.push(directory.to_owned());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_hierarchies_are_told_apart_from_version_2() {
        let mounts = Mounts::parse(
            "30 25 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
             31 30 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
             32 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             33 30 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n\
             34 30 0:31 / /elsewhere rw - cgroup2 cgroup2 rw\n",
        );
        let cgroups = Cgroups::from_mounts(&mounts);
        assert!(cgroups.is_version_1());
        let versions: Vec<_> = cgroups
            .hierarchies
            .iter()
            .map(|hierarchy| hierarchy.version)
            .collect();
        assert_eq!(
            versions,
            [
                Version::One { cpuset: true },
                Version::One { cpuset: false },
                Version::Two
            ]
        );
    }

    #[test]
    fn one_version_2_hierarchy_is_not_version_1() {
        let cgroups = Cgroups::from_mounts(&Mounts::parse(
            "30 25 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
        ));
        assert_eq!(cgroups.hierarchies.len(), 1);
        assert!(!cgroups.is_version_1());
    }

    #[test]
    fn a_containers_own_version_2_group_with_processes_cannot_carry_the_lab() {
        let directory = tempfile::tempdir().unwrap();
        let lacks = |files: &[(&str, &str)]| {
            for name in ["cgroup.type", "cgroup.procs", "cgroup.controllers"] {
                let _ = fs::remove_file(directory.path().join(name));
            }
            for (name, text) in files {
                fs::write(directory.path().join(name), text).unwrap();
            }
            let hierarchy = Hierarchy {
                point: directory.path().to_owned(),
                version: Version::Two,
            };
            let hierarchies = vec![hierarchy];
            Cgroups { hierarchies }.lacks().unwrap()
        };
        let (kind, procs) = (("cgroup.type", "domain\n"), ("cgroup.procs", "1\n"));
        let controllers = ("cgroup.controllers", "cpu memory\n");
        assert!(lacks(&[kind, procs, controllers])[0].contains("--cgroupns=host"));
        // The machine's own, an emptied one, and one beside version 1.
        assert_eq!(lacks(&[procs, controllers]), Vec::<String>::new());
        assert_eq!(lacks(&[kind, controllers]), Vec::<String>::new());
        assert_eq!(lacks(&[kind, procs]), Vec::<String>::new());
    }

    #[test]
    fn a_shim_that_left_containerd_in_version_1_alone_is_not_containerds() {
        let directory = tempfile::tempdir().unwrap();
        let hierarchy = |name: &str, version| {
            let point = directory.path().join(name);
            let group = point.join(ROOT).join("node-1/containerd");
            fs::create_dir_all(&group).unwrap();
            fs::write(
                group.join("cgroup.procs"),
                if version == Version::Two {
                    "10\n11\n"
                } else {
                    "10\n"
                },
            )
            .unwrap();
            Hierarchy { point, version }
        };
        let (one, two) = (
            hierarchy("pids", Version::One { cpuset: false }),
            hierarchy("unified", Version::Two),
        );
        let hybrid = Cgroups {
            hierarchies: vec![one, two.clone()],
        };
        assert_eq!(hybrid.pids("node-1/containerd"), BTreeSet::from([10]));
        assert_eq!(hybrid.pids(""), BTreeSet::from([10, 11]));
        assert_eq!(
            Cgroups {
                hierarchies: vec![two]
            }
            .pids("node-1/containerd"),
            BTreeSet::from([10, 11])
        );
    }

    #[test]
    fn directories_come_after_those_below_them() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join(ROOT).join("node-1/kubepods/pod")).unwrap();
        let hierarchy = Hierarchy {
            point: directory.path().to_owned(),
            version: Version::One { cpuset: false },
        };
        let found = Cgroups {
            hierarchies: vec![hierarchy],
        }
        .directories("node-1");
        let names: Vec<_> = found
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["pod", "kubepods", "node-1"]);
    }
}
