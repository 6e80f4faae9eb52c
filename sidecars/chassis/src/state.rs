//! What a function remembers, on its way to another process.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create};

/// Nobody changes a state that was passed.
const SEALS: SealFlags = SealFlags::SEAL
    .union(SealFlags::SHRINK)
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE);

/// What a function remembers: a file in memory, which a handover passes without a copy.
///
/// It is written once, by [`Write`]. Its bytes count as memory of the slot that wrote it, until
/// nobody holds it any more.
#[derive(Debug)]
pub struct State(File);

impl State {
    /// An empty state. Fails when the process has too many open files.
    pub fn new() -> io::Result<State> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        Ok(State(memfd_create("state", flags)?.into()))
    }

    /// A state of some bytes.
    pub fn from_bytes(bytes: &[u8]) -> io::Result<State> {
        let mut state = State::new()?;
        state.write_all(bytes)?;
        Ok(state)
    }

    /// Reads it from its beginning.
    pub fn reader(&self) -> impl Read {
        Reader {
            file: &self.0,
            read: 0,
        }
    }

    /// All its bytes.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.reader().read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// Takes a state that another process passed, if nobody can change it any more.
    pub(crate) fn received(file: OwnedFd) -> io::Result<State> {
        match fcntl_get_seals(&file) {
            Ok(seals) if seals.contains(SEALS) => Ok(State(file.into())),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a state arrived that can still be changed",
            )),
        }
    }

    /// Lets nobody change it any more. One that was passed is so already.
    pub(crate) fn seal(&self) -> io::Result<()> {
        if fcntl_get_seals(&self.0)?.contains(SEALS) {
            return Ok(());
        }
        Ok(fcntl_add_seals(&self.0, SEALS)?)
    }

    pub(crate) fn duplicate(&self) -> io::Result<State> {
        Ok(State(self.0.try_clone()?))
    }
}

impl AsFd for State {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Write for State {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Has a place of its own: that of the file is shared by all its duplicates.
struct Reader<'a> {
    file: &'a File,
    read: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read_at(buffer, self.read)?;
        self.read += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_from_its_beginning_by_each_reader() {
        let mut state = State::from_bytes(b"one ").unwrap();
        state.write_all(b"two").unwrap();
        let duplicate = state.duplicate().unwrap();
        assert_eq!(state.to_bytes().unwrap(), b"one two");
        assert_eq!(duplicate.to_bytes().unwrap(), b"one two");
    }

    #[test]
    fn only_a_state_that_nobody_can_change_is_taken() {
        let mut state = State::from_bytes(b"one").unwrap();
        let open = state.as_fd().try_clone_to_owned().unwrap();
        assert!(State::received(open).is_err());
        state.seal().unwrap();
        assert!(state.write_all(b"two").is_err());
        let sealed = state.as_fd().try_clone_to_owned().unwrap();
        let taken = State::received(sealed).unwrap();
        assert_eq!(taken.to_bytes().unwrap(), b"one");
        // Its function may remember the very same.
        taken.seal().unwrap();
        let other = tempfile::tempfile().unwrap();
        assert!(State::received(other.into()).is_err());
    }
}
