//! What can go wrong with the lab.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::CommandError;

/// An error of the lab. Its text says what was found and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine or user lacks something that the lab needs.
    #[error("the lab cannot run here:\n{}", bullets(.0))]
    Requirements(Vec<String>),

    /// The lab is not up, or parts of it are dead.
    #[error("the lab in {} is not up ({reason}); run `make lab-up`", state.display())]
    NotUp {
        /// The state directory that was looked at.
        state: PathBuf,
        /// What is missing.
        reason: String,
    },

    /// The machine already carries a lab with another state directory.
    #[error(
        "another lab is up on this machine, in {other}; take it down first: OUTRIGGER_LAB_DIR={other} lab down"
    )]
    OtherLab {
        /// The other lab's state directory.
        other: String,
    },

    /// A node name that the lab does not have.
    #[error("no node {name:?} in the lab; there are {known}")]
    UnknownNode {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// A component name that the lab does not have.
    #[error("no component {name:?} in the lab; there are {known}")]
    UnknownComponent {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// A tool name that the lab does not have.
    #[error("no tool {name:?} in the lab; there are {known}")]
    UnknownTool {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },

    /// HDFS was not brought up, or was taken down.
    #[error("HDFS is not up in the lab; run `make hdfs-up`")]
    HdfsNotUp,

    /// HDFS, or its client, could not do what was asked.
    #[error("HDFS cannot {action}: {said}")]
    Hdfs {
        /// What was asked.
        action: String,
        /// What it said.
        said: String,
    },

    /// A file that cannot be written as it was described.
    #[error("cannot put {path:?}: {reason}")]
    FileSpec {
        /// The file's path.
        path: String,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },

    /// A local volume that cannot be made as it was described.
    #[error("cannot make local volume {name:?}: {reason}")]
    LocalVolume {
        /// The volume's name.
        name: String,
        /// What is wrong with it, and what is allowed.
        reason: String,
    },

    /// A command of the system failed.
    #[error(transparent)]
    Command(#[from] CommandError),

    /// A file or directory could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried, for example `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },

    /// A component ended instead of becoming ready.
    #[error("{name} ended while it was starting; the end of {}:\n{tail}", log.display())]
    Ended {
        /// The component.
        name: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },

    /// Something did not become true in time.
    #[error("waited {} s for {what}: {last}", waited.as_secs())]
    Timeout {
        /// What was waited for.
        what: String,
        /// For how long.
        waited: Duration,
        /// What the last look said.
        last: String,
    },

    /// A certificate or key could not be made.
    #[error("cannot make certificate {name:?}: {source}")]
    Certificate {
        /// Its name.
        name: String,
        /// The reason.
        source: rcgen::Error,
    },

    /// Something of the lab is still there after `down`.
    #[error("the lab is down, but this is left:\n{}", bullets(.0))]
    Leftovers(Vec<String>),
}

/// A result of the lab.
pub(crate) type Result<T, E = Error> = std::result::Result<T, E>;

fn bullets(lines: &[String]) -> String {
    lines
        .iter()
        .map(|line| format!("  - {line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Adds the action and the path to an I/O error.
pub(crate) trait FileContext<T> {
    /// Names what was tried and on which file.
    fn at(self, action: &'static str, path: &Path) -> Result<T>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::File {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

impl<T> FileContext<T> for rustix::io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T> {
        self.map_err(io::Error::from).at(action, path)
    }
}
