//! Debian packages that the lab uses, installed when they are missing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::command::Tool;
use crate::error::{Error, FileContext, Result};
use crate::progress::Step;

/// What the lab needs, and (buildah, skopeo) what images are made and pushed with: a
/// package, and the file that shows that it is there. A file may also come from another package
/// (Docker's containerd.io, for example), which then stays.
const PACKAGES: &[(&str, &str)] = &[
    ("buildah", "/usr/bin/buildah"),
    // Go downloads modules over TLS.
    ("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("containerd", "/usr/bin/containerd"),
    ("containernetworking-plugins", "/usr/lib/cni/ptp"),
    ("docker-registry", "/usr/bin/docker-registry"),
    ("iproute2", "/usr/sbin/ip"),
    ("iptables", "/usr/sbin/iptables"),
    ("mount", "/usr/bin/mount"),
    ("nftables", "/usr/sbin/nft"),
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("procps", "/usr/sbin/sysctl"),
    ("runc", "/usr/sbin/runc"),
    ("skopeo", "/usr/bin/skopeo"),
    ("util-linux", "/usr/bin/nsenter"),
];

/// What HDFS needs beside that.
const JAVA: &[(&str, &str)] = &[
    ("maven", "/usr/bin/mvn"),
    (
        "openjdk-17-jdk-headless",
        "/usr/lib/jvm/java-17-openjdk-amd64/bin/javac",
    ),
];

/// While this file says 101, no package starts a service of its own when it is installed
/// (invoke-rc.d(8)).
const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_TEXT: &str =
    "#!/bin/sh\n# Made by the Outrigger lab for one installation.\nexit 101\n";

/// Installs what is missing.
pub(crate) fn ensure(step: &Step) -> Result<()> {
    install(PACKAGES, step)
}

/// Installs what of Java is missing.
pub(crate) fn ensure_java(step: &Step) -> Result<()> {
    install(JAVA, step)
}

fn install(packages: &[(&'static str, &str)], step: &Step) -> Result<()> {
    remove_own_policy()?;
    let missing = missing(Path::new("/"), packages);
    if missing.is_empty() {
        step.note("present");
        return Ok(());
    }
    step.note(format!("installing {}", missing.join(" ")));
    require_apt()?;
    let _policy = ServicePolicy::deny()?;
    let apt = || {
        Tool::new("apt-get")
            .args(["-q", "-y", "-o", "DPkg::Lock::Timeout=600"])
            .env("DEBIAN_FRONTEND", "noninteractive")
    };
    apt().arg("update").run()?;
    apt()
        .args([
            "install",
            "--no-install-recommends",
            "-o",
            "Dpkg::Options::=--force-confold",
        ])
        .args(&missing)
        .run()?;
    step.note(format!("installed {}", missing.len()));
    Ok(())
}

/// The packages whose file is not below `root`.
fn missing(root: &Path, packages: &[(&'static str, &str)]) -> Vec<&'static str> {
    let there = |file: &str| {
        let Some(file) = file.strip_prefix('/') else {
            return false;
        };
        // Docker's packages put runc into /usr/bin.
        root.join(file).exists() || root.join(file.replace("/sbin/", "/bin/")).exists()
    };
    packages
        .iter()
        .filter(|(_, file)| !there(file))
        .map(|(package, _)| *package)
        .collect()
}

/// Refuses a system that has no packages of Debian's kind.
fn require_apt() -> Result<()> {
    if Path::new("/usr/bin/apt-get").exists() {
        return Ok(());
    }
    let found = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let found = found
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("unknown")
        .to_owned();
    Err(Error::Requirements(vec![format!(
        "this system is {found}, without apt-get; use Debian 12 or a privileged container of it"
    )]))
}

/// Denies the start of services for as long as it lives.
struct ServicePolicy {
    ours: bool,
}

impl ServicePolicy {
    fn deny() -> Result<Self> {
        let path = Path::new(POLICY);
        match fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o755)
            .open(path)
        {
            Ok(mut file) => file
                .write_all(POLICY_TEXT.as_bytes())
                .at("write", path)
                .map(|()| Self { ours: true }),
            // The machine has a policy of its own, as containers do: it stays.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Ok(Self { ours: false })
            }
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

/// What an installation left that was killed.
pub(crate) fn trace() -> Option<String> {
    fs::read_to_string(POLICY)
        .is_ok_and(|text| text == POLICY_TEXT)
        .then(|| format!("file {POLICY}"))
}

/// Removes what an installation left that was killed.
pub(crate) fn remove_own_policy() -> Result<()> {
    let path = Path::new(POLICY);
    if trace().is_some() {
        fs::remove_file(path).at("remove", path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_packages_whose_file_is_not_there_are_installed() {
        let root = tempfile::tempdir().unwrap();
        for (_, file) in PACKAGES {
            let file = root.path().join(&file[1..]);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        assert_eq!(missing(root.path(), PACKAGES), Vec::<&str>::new());
        fs::rename(
            root.path().join("usr/sbin/runc"),
            root.path().join("usr/bin/runc"),
        )
        .unwrap();
        assert_eq!(missing(root.path(), PACKAGES), Vec::<&str>::new());
        fs::remove_file(root.path().join("usr/lib/cni/ptp")).unwrap();
        fs::remove_file(root.path().join("usr/bin/skopeo")).unwrap();
        assert_eq!(
            missing(root.path(), PACKAGES),
            ["containernetworking-plugins", "skopeo"]
        );
    }
}
