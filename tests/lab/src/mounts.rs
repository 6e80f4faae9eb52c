//! The mount table of this process, after proc(5), `/proc/[pid]/mountinfo`.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{FileContext, Result};
use crate::process;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) point: PathBuf,
    pub(crate) kind: String,
    pub(crate) options: String,
}

/// The mounts, in the order in which they were made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounts(pub(crate) Vec<Mount>);

impl Mounts {
    pub(crate) fn parse(mountinfo: &str) -> Self {
        Self(mountinfo.lines().filter_map(parse_line).collect())
    }

    pub(crate) fn is_mount_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == path)
    }

    pub(crate) fn is_namespace(&self, path: &Path) -> bool {
        self.0
            .iter()
            .any(|mount| mount.point == path && mount.kind == "nsfs")
    }

    /// The mounts at or below a directory, the last made first.
    pub(crate) fn below<'a>(&'a self, directory: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0
            .iter()
            .rev()
            .filter(move |mount| mount.point.starts_with(directory))
    }
}

fn parse_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let point = left.split(' ').nth(4)?;
    let mut right = right.split(' ');
    let (kind, _source, options) = (right.next()?, right.next()?, right.next()?);
    Some(Mount {
        point: unescape(point),
        kind: kind.to_owned(),
        options: options.to_owned(),
    })
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        if byte == b'\\' {
            let code = bytes.by_ref().take(3).fold(0_u32, |code, digit| {
                code * 8 + u32::from(digit.wrapping_sub(b'0'))
            });
            out.push(u8::try_from(code).unwrap_or(b'?'));
        } else {
            out.push(byte);
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// The mounts that this process sees now.
pub(crate) fn current() -> Result<Mounts> {
    let path = Path::new("/proc/self/mountinfo");
    Ok(Mounts::parse(&fs::read_to_string(path).at("read", path)?))
}

/// The mounts in each mount namespace of the machine, with a process that is in it.
pub(crate) fn everywhere() -> Vec<(u32, Mounts)> {
    let mut seen = BTreeSet::new();
    process::all_pids()
        .into_iter()
        .filter(|&pid| process::namespace(pid, "mnt").is_some_and(|inode| seen.insert(inode)))
        .map(|pid| {
            let text = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            (pid, Mounts::parse(&text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
25 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
60 25 0:4 net:[4026532301] /var/lib/lab/ns/node-1.net rw - nsfs nsfs rw
61 25 254:0 /x /var/lib/lab/with\\040space rw shared:7 master:2 - ext4 /dev/vda rw
30 25 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
";

    #[test]
    fn kind_options_and_escaped_names_are_read() {
        let mounts = Mounts::parse(TABLE);
        assert_eq!(mounts.0.len(), 4);
        assert!(mounts.is_namespace(Path::new("/var/lib/lab/ns/node-1.net")));
        assert!(!mounts.is_namespace(Path::new("/")));
        assert!(mounts.is_mount_point(Path::new("/var/lib/lab/with space")));
        assert_eq!(mounts.0[3].kind, "cgroup");
        assert_eq!(mounts.0[3].options, "rw,cpu");
    }

    #[test]
    fn the_mounts_below_a_directory_come_last_made_first_and_not_by_mere_prefix() {
        let mounts = Mounts::parse(TABLE);
        let below: Vec<_> = mounts
            .below(Path::new("/var/lib/lab"))
            .map(|mount| mount.point.clone())
            .collect();
        assert_eq!(
            below,
            [
                Path::new("/var/lib/lab/with space"),
                Path::new("/var/lib/lab/ns/node-1.net")
            ]
        );
        assert_eq!(mounts.below(Path::new("/var/lib/la")).count(), 0);
    }
}
