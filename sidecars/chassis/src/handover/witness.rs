//! Tells a successor whether the owner gave the handover up or died.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, pipe_with};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;

/// The owner's end.
#[derive(Debug)]
pub(super) struct Witness {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Witness {
    pub(super) fn new() -> io::Result<Witness> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        Ok(Witness { ours, theirs })
    }

    /// The end to pass to the successor.
    pub(super) fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// Says that the owner goes on. Nothing that was passed may be used from now on.
    pub(super) fn gave_up(&self) -> io::Result<()> {
        rustix::io::write(&self.ours, &[1])?;
        Ok(())
    }
}

/// The successor's end.
#[derive(Debug)]
pub(super) struct Testimony(Receiver);

impl Testimony {
    pub(super) fn new(theirs: OwnedFd) -> io::Result<Testimony> {
        Ok(Testimony(Receiver::from_owned_fd(theirs)?))
    }

    /// Whether the owner died without giving the handover up. Waits for either.
    pub(super) async fn owner_died(mut self) -> bool {
        matches!(self.0.read(&mut [0]).await, Ok(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn testimony(witness: &Witness) -> Testimony {
        Testimony::new(witness.theirs().try_clone_to_owned().unwrap()).unwrap()
    }

    #[tokio::test]
    async fn an_owner_that_gave_up_is_told_from_one_that_died() {
        let witness = Witness::new().unwrap();
        let left = testimony(&witness);
        witness.gave_up().unwrap();
        drop(witness);
        assert!(!left.owner_died().await);

        let witness = Witness::new().unwrap();
        let left = testimony(&witness);
        drop(witness);
        assert!(left.owner_died().await);
    }
}
