//! What the machine must offer, checked at once and before anything is changed.

use std::fs;
use std::path::Path;

use crate::artifacts;
use crate::cgroup::Cgroups;
use crate::command::Tool;
use crate::error::{Error, Result};
use crate::layout::Layout;

const GIB: u64 = 1 << 30;
/// Modules, build caches, binaries, images and logs.
const DISK_UNCACHED: u64 = 12 * GIB;
/// Images and logs.
const DISK_CACHED: u64 = 4 * GIB;

/// Capability numbers of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;

/// Checks everything that needs no package, and reports all that is missing together.
pub(crate) fn check(layout: &Layout) -> Result<()> {
    let mut lacks = Vec::new();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    if (os, arch) != ("linux", "x86_64") {
        lacks.push(format!(
            "this machine is {os} on {arch}; use Linux on x86_64"
        ));
    }
    lacks.extend(privilege_lack(
        rustix::process::geteuid().is_root(),
        &read("/proc/self/status"),
    ));
    lacks.extend(go_lack(artifacts::go_version().ok().as_deref()));
    if os == "linux" {
        lacks.extend(Cgroups::detect().and_then(|cgroups| cgroups.lacks())?);
    }
    let needed = if artifacts::all_built(layout) {
        DISK_CACHED
    } else {
        DISK_UNCACHED
    };
    for directory in [layout.state(), layout.cache()] {
        lacks.extend(disk_lack(directory, needed));
    }
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(Error::Requirements(lacks))
    }
}

/// Checks what taking the lab down needs.
pub(crate) fn check_privileges() -> Result<()> {
    let lack = privilege_lack(
        rustix::process::geteuid().is_root(),
        &read("/proc/self/status"),
    );
    lack.map_or(Ok(()), |lack| Err(Error::Requirements(vec![lack])))
}

/// Tries the kernel's parts in namespaces that vanish with the command.
pub(crate) fn check_kernel() -> Result<()> {
    let tries = [
        ("network bridges", "ip link add name b type bridge"),
        ("veth pairs", "ip link add name a type veth peer name b"),
        (
            "nftables with NAT",
            "nft add table ip t; nft add chain ip t c '{ type nat hook prerouting priority 0; }'",
        ),
    ];
    let lacks: Vec<_> = tries
        .into_iter()
        .filter_map(|(name, script)| {
            let error = Tool::line("unshare --net sh -e -c")
                .arg(script)
                .run()
                .err()?;
            Some(format!(
                "the kernel has no {name} ({error}); use a kernel built with them"
            ))
        })
        .collect();
    if lacks.is_empty() {
        Ok(())
    } else {
        Err(Error::Requirements(lacks))
    }
}

/// Whether containerd can use overlayfs in the state directory (not if that is on overlayfs itself).
pub(crate) fn overlay_works(layout: &Layout) -> bool {
    let Ok(directory) = tempfile::tempdir_in(layout.state()) else {
        return false;
    };
    Tool::line("unshare --mount sh -e -c")
        .arg("mkdir lower upper work merged; mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged; touch merged/file")
        .directory(directory.path())
        .run()
        .is_ok()
}

fn privilege_lack(root: bool, status: &str) -> Option<String> {
    if !root {
        return Some("you are not root; run it with sudo or as root".to_owned());
    }
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let effective = u64::from_str_radix(effective.trim(), 16).ok()?;
    let missing: Vec<_> = [
        ("CAP_NET_ADMIN", CAP_NET_ADMIN),
        ("CAP_SYS_ADMIN", CAP_SYS_ADMIN),
    ]
    .into_iter()
    .filter(|(_, bit)| effective & (1 << bit) == 0)
    .map(|(name, _)| name)
    .collect();
    (!missing.is_empty()).then(|| {
        format!(
            "root lacks {}; in a container, run it with --privileged",
            missing.join(" and ")
        )
    })
}

/// From Go 1.21 on, an older Go fetches the one that a module asks for.
fn go_lack(version: Option<&str>) -> Option<String> {
    const MINOR: u32 = 21;
    let Some(version) = version else {
        return Some(format!(
            "`go` is not in PATH; install Go 1.{MINOR} or newer"
        ));
    };
    let minor = version
        .strip_prefix("go1.")
        .and_then(|rest| rest.split(|digit: char| !digit.is_ascii_digit()).next())
        .and_then(|minor| minor.parse::<u32>().ok());
    // What has another name (a development version) is taken to be new.
    minor
        .is_some_and(|minor| minor < MINOR)
        .then(|| format!("`go` is {version}; install Go 1.{MINOR} or newer"))
}

fn disk_lack(directory: &Path, needed: u64) -> Option<String> {
    let existing = directory.ancestors().find(|path| path.exists())?;
    let space = rustix::fs::statvfs(existing).ok()?;
    let free = space.f_bavail * space.f_frsize;
    (free < needed).then(|| {
        format!(
            "{} has {:.1} GiB free, {} GiB are needed; free some, or point OUTRIGGER_LAB_DIR and OUTRIGGER_CACHE elsewhere",
            existing.display(),
            free as f64 / GIB as f64,
            needed / GIB
        )
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_not_root_is_told_so() {
        assert!(privilege_lack(false, "").unwrap().contains("not root"));
    }

    #[test]
    fn a_root_without_capabilities_is_told_which() {
        let lack = privilege_lack(true, "CapEff:\t00000000a80425fb\n").unwrap();
        assert!(lack.contains("CAP_NET_ADMIN and CAP_SYS_ADMIN"), "{lack}");
        assert_eq!(privilege_lack(true, "CapEff:\t000001ffffffffff\n"), None);
    }

    #[test]
    fn an_absent_or_old_go_is_told_with_the_version_wanted() {
        assert!(go_lack(None).unwrap().contains("not in PATH"));
        let lack = go_lack(Some("go1.19.8")).unwrap();
        assert_eq!(lack, "`go` is go1.19.8; install Go 1.21 or newer");
        for new in ["go1.21.0", "go1.26.8", "go1.27rc1", "devel go1.28-abc"] {
            assert_eq!(go_lack(Some(new)), None, "{new}");
        }
    }

    #[test]
    fn a_full_disk_is_told_with_the_figures() {
        let lack = disk_lack(Path::new("/no/such/directory"), u64::MAX).unwrap();
        assert!(lack.starts_with("/ has "), "{lack}");
        assert_eq!(disk_lack(Path::new("/"), 0), None);
    }
}
