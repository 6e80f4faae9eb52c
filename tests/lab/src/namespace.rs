//! Namespaces that are kept alive by a mounted file, so that they outlive every process in them.
//!
//! The files are in one directory of the state directory, which is a private mount: the kernel
//! refuses to mount a mount namespace where it would propagate back into itself.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
