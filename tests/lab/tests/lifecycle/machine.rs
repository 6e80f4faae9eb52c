//! What the kernel and the disk tell of the machine, read without any code of the lab.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A process, told from a later one of the same number by its start time.
pub(crate) type Process = (u32, u64);

/// Everything that a lab could leave, one line each, below the name of its kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(BTreeMap<&'static str, BTreeSet<String>>);

impl Snapshot {
    pub(crate) fn take() -> Self {
        let lines = |text: String| text.lines().map(lasting).collect();
        Self(BTreeMap::from([
            ("link", lines(output("ip -oneline link show"))),
            ("address", lines(output("ip -oneline address show"))),
            ("route", lines(output("ip route show table all"))),
            ("routing rule", lines(output("ip rule show"))),
            (
                "nftables rule",
                lines(output("nft --stateless list ruleset")),
            ),
            ("named network namespace", lines(output("ip netns list"))),
            ("mount", mounts()),
            ("control group", control_groups()),
            ("file", files()),
            ("kernel setting", settings()),
        ]))
    }

    /// What is there now and was not, or not in this form, in the earlier snapshot.
    pub(crate) fn since(&self, earlier: &Self) -> Vec<String> {
        let none = BTreeSet::new();
        self.0
            .iter()
            .flat_map(|(kind, lines)| {
                let before = earlier.0.get(kind).unwrap_or(&none);
                lines
                    .difference(before)
                    .map(move |line| format!("{kind}: {line}"))
            })
            .collect()
    }

    /// What bears a name or an address that only labs use.
    pub(crate) fn marked(&self) -> Vec<String> {
        const MARKS: [&str; 4] = ["outrigger-lab", "outrigger0", "198.18.", "198.19."];
        let marked = |line: &&String| MARKS.iter().any(|mark| line.contains(mark));
        let of_kind = |(kind, lines): (&&'static str, &BTreeSet<String>)| {
            let named = lines
                .iter()
                .filter(marked)
                .map(|line| format!("{kind}: {line}"));
            named.collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_kind).collect()
    }
}

/// The directories of the lab's control groups, one in each hierarchy.
pub(crate) fn lab_groups() -> Vec<PathBuf> {
    let text = read("/proc/self/mountinfo");
    text.lines()
        .filter(|line| line.contains(" - cgroup"))
        .filter_map(|line| Some(Path::new(line.split(' ').nth(4)?).join("outrigger-lab")))
        .filter(|group| group.is_dir())
        .collect()
}

/// The processes of the lab below a group of it (`""`: all), as their own `/proc/[pid]/cgroup` says.
pub(crate) fn processes_of(group: &str) -> BTreeSet<Process> {
    let wanted = Path::new("/outrigger-lab").join(group);
    let inside = |pid: &u32| {
        read(&format!("/proc/{pid}/cgroup")).lines().any(|line| {
            line.splitn(3, ':')
                .nth(2)
                .is_some_and(|path| Path::new(path).starts_with(&wanted))
        })
    };
    pids()
        .filter(inside)
        .filter_map(|pid| Some((pid, start_time(pid)?)))
        .collect()
}

/// The inode numbers of the namespaces that the processes are in and this program is not.
pub(crate) fn namespaces_of(processes: &BTreeSet<Process>) -> BTreeSet<u64> {
    let own = namespaces(std::process::id());
    processes
        .iter()
        .flat_map(|(pid, _)| namespaces(*pid))
        .filter(|inode| !own.contains(inode))
        .collect()
}

/// The processes that stay in one of the namespaces. A process that was killed leaves its control
/// group before its namespaces, and is a zombie until its parent has asked for it: those are waited
/// for.
pub(crate) fn processes_in(wanted: &BTreeSet<u64>) -> Vec<u32> {
    let patience = Instant::now() + Duration::from_secs(10);
    loop {
        let found: Vec<_> = pids()
            .filter(|pid| start_time(*pid).is_some())
            .filter(|pid| namespaces(*pid).iter().any(|inode| wanted.contains(inode)))
            .collect();
        if found.is_empty() || Instant::now() > patience {
            return found;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The machine's shared memory that the processes use. It would outlive them if they were killed,
/// and is not told from that of others once they are gone.
pub(crate) fn shared_memory_of(processes: &BTreeSet<Process>) -> Vec<String> {
    let made = |line: &&str| {
        let maker = line
            .split_whitespace()
            .nth(4)
            .and_then(|pid| pid.parse::<u32>().ok());
        processes.iter().any(|(pid, _)| maker == Some(*pid))
    };
    let segments = read("/proc/sysvipc/shm");
    let mut found: Vec<_> = segments.lines().filter(made).map(str::to_owned).collect();
    for (pid, _) in processes {
        let maps = read(&format!("/proc/{pid}/maps"));
        let files = maps.lines().filter(|line| line.contains("/dev/shm/"));
        found.extend(files.map(str::to_owned));
    }
    found
}

/// Whether it is the same process that still runs.
pub(crate) fn runs((pid, started): Process) -> bool {
    start_time(pid) == Some(started)
}

/// Clock ticks from the machine's start to that of the process; none if it is gone or a zombie.
pub(crate) fn start_time(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    let fields: Vec<_> = rest.split(' ').collect();
    (fields[0] != "Z").then(|| fields[19].parse().ok())?
}

fn pids() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").unwrap();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn namespaces(pid: u32) -> Vec<u64> {
    ["net", "mnt", "uts", "ipc", "pid"]
        .into_iter()
        .filter_map(|kind| Some(fs::metadata(format!("/proc/{pid}/ns/{kind}")).ok()?.ino()))
        .collect()
}

/// A line without what changes by itself: the times that leased addresses and learnt routes have
/// left.
fn lasting(line: &str) -> String {
    let lasting = line.split(" expires ").next().unwrap();
    let lasting = lasting.split("valid_lft").next().unwrap();
    lasting.trim_end_matches(['\\', ' ']).trim().to_owned()
}

/// The mounts of every mount namespace: point, kind and source.
fn mounts() -> BTreeSet<String> {
    let told = |line: &str| {
        let (mount, kind) = line.split_once(" - ")?;
        let kind: Vec<_> = kind.split(' ').take(2).collect();
        Some(format!("{} {}", mount.split(' ').nth(4)?, kind.join(" ")))
    };
    pids()
        .flat_map(|pid| {
            let text = read(&format!("/proc/{pid}/mountinfo"));
            text.lines().filter_map(told).collect::<Vec<_>>()
        })
        // buildah's, of images in the making.
        .filter(|line| !line.contains("/var/lib/containers/"))
        .collect()
}

fn control_groups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(directory) = open.pop() {
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.path()),
        );
        found.insert(directory.display().to_string());
    }
    found
}

/// What there is in the directories where a node's programs would leave traces on a machine that
/// is not the lab's.
fn files() -> BTreeSet<String> {
    const DIRECTORIES: [&str; 11] = [
        "/",
        "/etc",
        "/etc/cni/net.d",
        "/etc/kubernetes",
        "/mnt",
        "/opt",
        "/run",
        "/run/netns",
        "/var/lib",
        "/var/lib/cni",
        "/var/log",
    ];
    DIRECTORIES
        .into_iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .map(|entry| entry.path().display().to_string())
        .collect()
}

/// What kubelet sets for the whole machine.
fn settings() -> BTreeSet<String> {
    [
        "vm/overcommit_memory",
        "vm/panic_on_oom",
        "kernel/panic",
        "kernel/panic_on_oops",
        "kernel/keys/root_maxkeys",
        "kernel/keys/root_maxbytes",
        "net/ipv4/ip_forward",
    ]
    .into_iter()
    .map(|name| format!("{name} = {}", read(&format!("/proc/sys/{name}")).trim()))
    .collect()
}

fn output(line: &str) -> String {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    assert!(done.status.success(), "{line}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
