//! Namespaces that are kept alive by a mounted file, so that they outlive every process in them.
//!
//! The files are in one directory of the state directory, which is a private mount: the kernel
//! refuses to mount a mount namespace where it would propagate back into itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::thread::{CpuSet, sched_getaffinity};

use crate::command::Tool;
use crate::error::{FileContext, Result};
use crate::mounts;

/// The namespaces that a process of the lab runs in, as the files that hold them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespaces {
    pub(crate) net: Option<PathBuf>,
    pub(crate) mount: Option<PathBuf>,
    pub(crate) uts: Option<PathBuf>,
}

impl Namespaces {
    /// The words to put before a command to run it inside.
    pub(crate) fn enter_command(&self) -> Vec<OsString> {
        let mut words = Vec::new();
        for (option, file) in [
            ("--net=", &self.net),
            ("--uts=", &self.uts),
            ("--mount=", &self.mount),
        ] {
            if let Some(file) = file {
                let mut word = OsString::from(option);
                word.push(file);
                words.push(word);
            }
        }
        if !words.is_empty() {
            words.insert(0, "nsenter".into());
            words.push("--".into());
        }
        words
    }

    /// Whether the process is inside all of these namespaces.
    pub(crate) fn contain(&self, pid: u32) -> bool {
        [("net", &self.net), ("uts", &self.uts), ("mnt", &self.mount)]
            .into_iter()
            .all(|(kind, file)| {
                let Some(file) = file else { return true };
                let of_process =
                    fs::metadata(format!("/proc/{pid}/ns/{kind}")).map(|found| found.ino());
                let wanted = fs::metadata(file).map(|found| found.ino());
                matches!((of_process, wanted), (Ok(a), Ok(b)) if a == b)
            })
    }
}

/// Makes `directory` a private mount, once.
pub(crate) fn prepare_directory(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).at("create", directory)?;
    if !mounts::current()?.is_mount_point(directory) {
        Tool::line("mount --bind")
            .arg(directory)
            .arg(directory)
            .run()?;
    }
    Tool::line("mount --make-private").arg(directory).run()?;
    Ok(())
}

/// Whether a namespace is mounted on the file.
pub(crate) fn exists(file: &Path) -> Result<bool> {
    Ok(mounts::current()?.is_namespace(file))
}

/// Makes the empty file that a namespace is mounted on.
pub(crate) fn touch(file: &Path) -> Result<()> {
    fs::File::create(file).at("create", file).map(drop)
}

/// The processors that this program may use: where a mount namespace is to be made in turn.
///
/// A file can hold a mount namespace only if its number is higher than that of the caller's own,
/// and Linux 6.18 counts on each processor for itself. So it may fail on one processor and not on
/// another, unless the caller is in the machine's first namespace, as it is outside of containers.
pub(crate) fn processors() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).at("read", Path::new("/proc/self/status"))?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&processor| set.is_set(processor))
        .collect())
}

/// Makes a network namespace held by `file`, with its loopback device up.
pub(crate) fn create_net(file: &Path) -> Result<()> {
    touch(file)?;
    let mut option = OsString::from("--net=");
    option.push(file);
    Tool::new("unshare")
        .arg(option)
        .args(["ip", "link", "set", "lo", "up"])
        .run()?;
    Ok(())
}

/// Lets go of all namespaces whose files are in the directory.
///
/// A mount namespace of others that was made meanwhile (a service's with files of its own, say) has
/// copies of all mounts, which would keep the namespaces alive; so it lets go of them there too.
pub(crate) fn remove_all(directory: &Path) -> Result<()> {
    for mount in mounts::current()?.below(directory) {
        Tool::line("umount --lazy").arg(&mount.point).run()?;
    }
    for (pid, mounts) in mounts::everywhere() {
        for mount in mounts.below(directory) {
            // Whoever ended meanwhile took the copies along; what stays is seen by the inventory.
            let _ = Tool::line("nsenter --mount --target")
                .arg(pid.to_string())
                .args(["umount", "--lazy"])
                .arg(&mount.point)
                .run();
        }
    }
    Ok(())
}

/// Lets go of the namespace. It ends when the last process in it has ended.
pub(crate) fn remove(file: &Path) -> Result<()> {
    while exists(file)? {
        Tool::line("umount --lazy").arg(file).run()?;
    }
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at("remove", file),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_namespace_that_another_mount_namespace_has_a_copy_of_is_let_go_of_there_too() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        prepare_directory(directory.path()).unwrap();
        let file = directory.path().join("test.net");
        create_net(&file).unwrap();
        let mut other = Command::new("unshare")
            .args(["--mount", "sh", "-c", "echo ready; exec sleep 600"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let output = BufReader::new(other.stdout.as_mut().unwrap()).read_line(&mut ready);
        let held = |pid: u32| {
            fs::read_to_string(format!("/proc/{pid}/mountinfo"))
                .unwrap()
                .contains("test.net")
        };
        let before = output.is_ok() && held(other.id());
        let removed = remove_all(directory.path());
        let after = held(other.id());
        other.kill().unwrap();
        other.wait().unwrap();
        removed.unwrap();
        assert!(before && !after);
        assert!(!exists(&file).unwrap());
    }
}
