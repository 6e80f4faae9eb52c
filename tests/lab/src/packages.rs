//! Debian packages that the lab uses, installed when they are missing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::command::Tool;
use crate::error::{Error, FileContext, Result};
use crate::progress::Step;

/// What the lab needs, and (skopeo, buildah) what its tests build and push images with.
const PACKAGES: [&str; 12] = [
    "buildah",
    "conntrack",
    "containerd",
    "containernetworking-plugins",
    "docker-registry",
    "iproute2",
    "iptables",
    "nftables",
    "postgresql-15",
    "runc",
    "skopeo",
    "util-linux",
];

/// While this file says 101, no package starts a service of its own when it is installed
/// (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str = "#!/bin/sh\n# Made by the Outrigger lab for one installation.\nexit 101\n";

/// Installs what is missing.
pub(crate) fn ensure(step: &Step) -> Result<()> {
    remove_own_policy()?;
    let missing = missing()?;
    if missing.is_empty() {
        step.note("present");
        return Ok(());
    }
    step.note(format!("installing {}", missing.join(" ")));
    let _policy = ServicePolicy::deny()?;
    let apt = || Tool::new("apt-get").args(["-q", "-y"]).env("DEBIAN_FRONTEND", "noninteractive");
    apt().arg("update").run()?;
    apt().args(["install", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"]).args(&missing).run()?;
    step.note(format!("installed {}", missing.len()));
    Ok(())
}

fn missing() -> Result<Vec<&'static str>> {
    let has = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
    };
    if !has("dpkg-query") || !has("apt-get") {
        let found = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let found = found.lines().find_map(|line| line.strip_prefix("PRETTY_NAME=")).unwrap_or("unknown").to_owned();
        return Err(Error::Requirements(vec![format!(
            "this system is {found}, without apt-get; use Debian 12 or a privileged container of it"
        )]));
    }
    // dpkg-query fails when it does not know one of the names; what it says of the others is right.
    let listed = Tool::new("sh")
        .args(["-c", "dpkg-query -W -f '${Package} ${db:Status-Status}\\n' \"$@\" 2>/dev/null || true", "sh"])
        .args(PACKAGES)
        .run()?;
    Ok(not_installed(&listed))
}

fn not_installed(listed: &str) -> Vec<&'static str> {
    let installed: BTreeSet<_> = listed.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    PACKAGES.into_iter().filter(|package| !installed.contains(package)).collect()
}

/// Denies the start of services for as long as it lives.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    fn deny() -> Result<Self> {
        let path = Path::new(POLICY);
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o755).open(path) {
            Ok(mut file) => file.write_all(POLICY_TEXT.as_bytes()).at("write", path).map(|()| Self { ours: true }),
            // The machine has a policy of its own, as containers do: it stays.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(Self { ours: false }),
            Err(error) => Err(error).at("create", path),
        }
    }
}

impl Drop for ServicePolicy {
    fn drop(&mut self) {
        if self.ours {
            let _ = fs::remove_file(POLICY);
        }
    }
}

/// Removes what an installation left that was killed.
fn remove_own_policy() -> Result<()> {
    let path = Path::new(POLICY);
    if fs::read_to_string(path).is_ok_and(|text| text == POLICY_TEXT) {
        fs::remove_file(path).at("remove", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_only_half_there_counts_as_missing() {
        let listed = PACKAGES.map(|package| format!("{package} installed\n")).concat();
        assert_eq!(not_installed(&listed), Vec::<&str>::new());
        let half = listed.replace("runc installed", "runc half-configured").replace("skopeo installed\n", "");
        assert_eq!(not_installed(&half), ["runc", "skopeo"]);
    }
}
