//! Which slot owns the listeners: the lock that the kernel frees when its holder dies, and the
//! record of how ownership came about.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use outrigger_control::{Pair, Slot};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

const DIRECTORY: &str = "state";
const LOCK: &str = "owner";
const RECORD: &str = "record.json";

/// The private directory of both slots of a sidecar, below the volume that they share.
#[derive(Clone, Debug)]
pub(crate) struct StateDirectory {
    path: PathBuf,
}

/// The directory cannot be trusted, because others could write to it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{path} belongs to user {owner} with mode {mode:o}; it must be a directory of user {user} with mode 700"
)]
struct NotPrivate {
    path: String,
    owner: u32,
    mode: u32,
    user: u32,
}

impl StateDirectory {
    /// Opens the state directory below `shared`, making it if it is not there.
    pub(crate) fn open(shared: &Path) -> io::Result<StateDirectory> {
        let path = shared.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(io::Error::new(
                    error.kind(),
                    format!("{}: {error}", path.display()),
                ));
            }
            Ok(()) | Err(_) => {}
        }
        let metadata = std::fs::symlink_metadata(&path)?;
        let (owner, mode) = (metadata.uid(), metadata.permissions().mode() & 0o7777);
        let user = rustix::process::geteuid().as_raw();
        // A set-group-ID bit comes from the volume when the pod has an fsGroup.
        if !metadata.is_dir() || owner != user || mode & 0o777 != 0o700 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                NotPrivate {
                    path: path.display().to_string(),
                    owner,
                    mode,
                    user,
                },
            ));
        }
        Ok(StateDirectory { path })
    }

    /// The socket of the owner, on which the other slot watches it and asks for a handover.
    pub(crate) fn owner_socket(&self) -> PathBuf {
        self.path.join("owner.sock")
    }

    /// The socket on which a slot's supervisor gives duplicates of the listeners that it holds.
    pub(crate) fn listeners_socket(&self, slot: Slot) -> PathBuf {
        self.path.join(format!("listeners-{slot}.sock"))
    }

    /// The last document that a slot took.
    pub(crate) fn last_good(&self, slot: Slot) -> PathBuf {
        self.path.join(format!("configuration-{slot}.json"))
    }

    /// Takes the owner lock if nobody holds it.
    pub(crate) fn try_own(&self) -> io::Result<Option<OwnerLock>> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(self.path.join(LOCK))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(OwnerLock {
                file: file.into(),
                directory: self.clone(),
            })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The record; `None` before the first owner.
    pub(crate) fn record(&self) -> io::Result<Option<Record>> {
        match std::fs::read(self.path.join(RECORD)) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How ownership came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The order and the takeovers that led to the present owner.
    pub(crate) pair: Pair,
    /// The slot that owns the listeners.
    pub(crate) active: Slot,
}

impl Record {
    /// The record of a slot that takes the lock with nobody's consent.
    pub(crate) fn taken_over(previous: Option<Record>, slot: Slot) -> Record {
        // The first owner of a pod rescues nobody.
        let pair = previous.map_or_else(Pair::default, |previous| Pair {
            takeover: previous.pair.takeover + 1,
            ..previous.pair
        });
        Record { pair, active: slot }
    }

    /// The record of the slot that an order named.
    pub(crate) fn ordered(term: u64, slot: Slot) -> Record {
        Record {
            pair: Pair { term, takeover: 0 },
            active: slot,
        }
    }
}

/// The owner lock. It belongs to the open file, not to the process: whoever holds a duplicate of
/// its descriptor holds the lock, and it is free when the last one is closed.
#[derive(Debug)]
pub(crate) struct OwnerLock {
    file: OwnedFd,
    directory: StateDirectory,
}

impl OwnerLock {
    /// Takes the lock that another process passed, if it is the one of `directory`.
    pub(crate) fn received(file: OwnedFd, directory: &StateDirectory) -> io::Result<OwnerLock> {
        let path = directory.path.join(LOCK);
        let (found, expected) = (rustix::fs::fstat(&file)?, rustix::fs::stat(&path)?);
        if (found.st_dev, found.st_ino) != (expected.st_dev, expected.st_ino) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a lock arrived that is not {}", path.display()),
            ));
        }
        Ok(OwnerLock {
            file,
            directory: directory.clone(),
        })
    }

    /// Replaces the record, in one step for its readers.
    pub(crate) fn write(&self, record: Record) -> io::Result<()> {
        replace_file(
            &self.directory.path.join(RECORD),
            &serde_json::to_vec(&record)?,
        )
    }
}

impl AsFd for OwnerLock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Writes a file so that readers see the old content or the new one, never a part.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}", std::process::id()));
    let draft = PathBuf::from(draft);
    let mut file = File::create(&draft)?;
    file.write_all(content)?;
    drop(file);
    std::fs::rename(draft, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_has_one_holder_and_is_free_after_it() {
        let shared = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(shared.path()).unwrap();
        let lock = directory.try_own().unwrap().unwrap();
        assert!(directory.try_own().unwrap().is_none());
        let duplicate = lock.as_fd().try_clone_to_owned().unwrap();
        drop(lock);
        assert!(directory.try_own().unwrap().is_none());
        let passed = OwnerLock::received(duplicate, &directory).unwrap();
        assert!(directory.try_own().unwrap().is_none());
        drop(passed);
        assert!(directory.try_own().unwrap().is_some());
        let other = tempfile::tempfile().unwrap();
        assert!(OwnerLock::received(other.into(), &directory).is_err());
    }

    #[test]
    fn a_takeover_keeps_the_term_and_is_counted() {
        let first = Record::taken_over(None, Slot::A);
        assert_eq!(first.pair, Pair::default());
        let ordered = Record::ordered(7, Slot::A);
        let rescued = Record::taken_over(Some(ordered), Slot::B);
        assert_eq!(
            rescued.pair,
            Pair {
                term: 7,
                takeover: 1
            }
        );
        assert_eq!(rescued.active, Slot::B);
    }

    #[test]
    fn the_record_survives_its_writer() {
        let shared = tempfile::tempdir().unwrap();
        let directory = StateDirectory::open(shared.path()).unwrap();
        assert_eq!(directory.record().unwrap(), None);
        let record = Record::ordered(3, Slot::B);
        directory.try_own().unwrap().unwrap().write(record).unwrap();
        assert_eq!(
            StateDirectory::open(shared.path())
                .unwrap()
                .record()
                .unwrap(),
            Some(record)
        );
    }

    #[test]
    fn a_directory_that_others_may_write_to_is_refused() {
        let shared = tempfile::tempdir().unwrap();
        let path = shared.path().join(DIRECTORY);
        std::fs::create_dir(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        let message = StateDirectory::open(shared.path()).unwrap_err().to_string();
        assert!(message.contains("with mode 777; it must be"), "{message}");
    }
}
