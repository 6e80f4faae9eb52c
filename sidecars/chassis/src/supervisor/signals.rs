//! Signals as descriptors that can be polled.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM};

/// Readable when a signal has arrived.
pub(super) struct SignalPipe(UnixStream);

impl SignalPipe {
    fn install(signals: &[i32]) -> io::Result<SignalPipe> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        Ok(SignalPipe(read))
    }

    pub(super) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while matches!(self.0.read(&mut bytes), Ok(count) if count > 0) {}
    }
}

impl AsFd for SignalPipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The signals that a supervisor heeds.
pub(super) struct Signals {
    /// A child has ended.
    pub(super) child: SignalPipe,
    /// The slot is told to stop.
    pub(super) terminate: SignalPipe,
}

impl Signals {
    pub(super) fn install() -> io::Result<Signals> {
        Ok(Signals {
            child: SignalPipe::install(&[SIGCHLD])?,
            terminate: SignalPipe::install(&[SIGTERM, SIGINT])?,
        })
    }
}
