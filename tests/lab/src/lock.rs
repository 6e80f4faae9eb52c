//! Locks between lab programs, held by an open file and freed by the kernel when a program ends.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::error::{FileContext, Result};

/// A held lock; dropping it frees it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; calls `on_wait` once if another program holds it.
    pub(crate) fn acquire(path: &Path, mut on_wait: impl FnMut()) -> Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).at("create", parent)?;
        }
        loop {
            let file = File::options()
                .create(true)
                .append(true)
                .open(path)
                .at("open", path)?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                on_wait();
                file.lock().at("lock", path)?;
            }
            // The holder before us may have removed the file together with its directory.
            let held = file.metadata().at("read", path)?;
            if fs::metadata(path)
                .is_ok_and(|there| there.ino() == held.ino() && there.dev() == held.dev())
            {
                return Ok(Self { _file: file });
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).at("create", parent)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_that_was_removed_while_waiting_is_taken_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state/lock");
        let first = Lock::acquire(&path, || ()).unwrap();
        std::thread::scope(|scope| {
            let (waiting, waits) = std::sync::mpsc::channel();
            let path = &path;
            let second =
                scope.spawn(move || Lock::acquire(path, || waiting.send(()).unwrap()).unwrap());
            waits.recv().unwrap();
            fs::remove_dir_all(path.parent().unwrap()).unwrap();
            drop(first);
            let _second = second.join().unwrap();
            let third = File::open(path).unwrap();
            assert!(matches!(third.try_lock(), Err(TryLockError::WouldBlock)));
        });
    }
}
