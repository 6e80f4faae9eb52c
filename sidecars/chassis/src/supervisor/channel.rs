//! Messages between a supervisor, its worker and the other slot's worker.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::SocketFlags;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::packet::{self, invalid};

/// A message.
#[derive(Debug)]
pub(crate) enum Message {
    /// From a supervisor: how often it restarted the worker, and the listeners it holds, if any.
    Held {
        restarts: u64,
        descriptors: Vec<OwnedFd>,
    },
    /// From a worker to its supervisor: listeners to hold from now on.
    Hold { descriptors: Vec<OwnedFd> },
    /// From a worker to its supervisor: why it cannot run.
    Failed { reason: String },
}

const HELD: u8 = 1;
const HOLD: u8 = 2;
const FAILED: u8 = 3;

/// Longest message, in bytes.
const MAX_MESSAGE: usize = 1 + 4 * MAX_REASON;
/// Longest reason, in characters. What is longer is cut.
const MAX_REASON: usize = 500;

impl Message {
    /// Reads a message; `None` when the other end is gone.
    fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Option<Message>> {
        match bytes {
            [] => Ok(None),
            [HOLD] => Ok(Some(Message::Hold { descriptors })),
            [HELD, restarts @ ..] => {
                let restarts = <[u8; 8]>::try_from(restarts)
                    .map_err(|_| invalid("a message of unknown form"))?;
                Ok(Some(Message::Held {
                    restarts: u64::from_le_bytes(restarts),
                    descriptors,
                }))
            }
            [FAILED, reason @ ..] => Ok(Some(Message::Failed {
                reason: String::from_utf8_lossy(reason).into_owned(),
            })),
            _ => Err(invalid("a message of unknown form")),
        }
    }
}

/// One end of a blocking connection.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (ours, theirs) = packet::pair()?;
        Ok((Channel(ours), Channel(theirs)))
    }

    pub(crate) fn send_held(
        &self,
        restarts: u64,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut bytes = [HELD; 9];
        bytes[1..].copy_from_slice(&restarts.to_le_bytes());
        packet::send(self, &[IoSlice::new(&bytes)], descriptors)
    }

    pub(crate) fn send_hold(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        packet::send(self, &[IoSlice::new(&[HOLD])], descriptors)
    }

    pub(crate) fn send_failed(&self, reason: &str) -> io::Result<()> {
        let reason: String = reason.chars().take(MAX_REASON).collect();
        packet::send(
            self,
            &[IoSlice::new(&[FAILED]), IoSlice::new(reason.as_bytes())],
            &[],
        )
    }

    /// Whether there is a message, or the other end is gone.
    pub(crate) fn is_readable(&self) -> bool {
        let mut fds = [PollFd::new(self, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Waits for a message; `None` when the other end is gone.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = [0; MAX_MESSAGE];
        let (length, descriptors) = packet::receive(self, &mut bytes)?;
        Message::decode(&bytes[..length], descriptors)
    }
}

/// The listeners that the other slot's supervisor holds, as duplicates; none if it holds none.
pub(crate) async fn ask_held(path: &Path) -> io::Result<Vec<OwnedFd>> {
    // The stream is used for its place in the reactor only.
    let socket = packet::connect(path, SocketFlags::NONBLOCK)?;
    let socket = UnixStream::from_std(socket.into())?;
    let mut bytes = [0; MAX_MESSAGE];
    let (length, descriptors) = socket
        .async_io(Interest::READABLE, || {
            packet::receive(socket.as_fd(), &mut bytes)
        })
        .await?;
    match Message::decode(&bytes[..length], descriptors)? {
        Some(Message::Held { descriptors, .. }) => Ok(descriptors),
        Some(Message::Hold { .. } | Message::Failed { .. }) => {
            Err(invalid("a message for a supervisor"))
        }
        None => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl From<OwnedFd> for Channel {
    fn from(socket: OwnedFd) -> Channel {
        Channel(socket)
    }
}

impl From<Channel> for OwnedFd {
    fn from(channel: Channel) -> OwnedFd {
        channel.0
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Accepted, Acceptor};

    #[test]
    fn descriptors_travel_with_their_message() {
        let (supervisor, worker) = Channel::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        supervisor
            .send_held(3, &[file.as_fd(), file.as_fd()])
            .unwrap();
        worker.send_hold(&[file.as_fd()]).unwrap();
        assert!(matches!(
            worker.receive().unwrap(),
            Some(Message::Held { restarts: 3, descriptors }) if descriptors.len() == 2
        ));
        assert!(matches!(
            supervisor.receive().unwrap(),
            Some(Message::Hold { descriptors }) if descriptors.len() == 1
        ));
        drop(supervisor);
        assert!(worker.receive().unwrap().is_none());
    }

    #[test]
    fn a_new_socket_takes_the_place_of_a_dead_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("listeners.sock");
        let blocking = SocketFlags::empty();
        drop(Acceptor::bind(&path).unwrap());
        assert!(packet::connect(&path, blocking).is_err());
        let acceptor = Acceptor::bind(&path).unwrap();
        let nobody = packet::accept(&acceptor, blocking).unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
        let client = Channel::from(packet::connect(&path, blocking).unwrap());
        let Accepted::Peer(server) = packet::accept(&acceptor, blocking).unwrap() else {
            panic!("a process of the same user is refused");
        };
        Channel::from(server).send_held(0, &[]).unwrap();
        assert!(matches!(
            client.receive().unwrap(),
            Some(Message::Held { .. })
        ));
    }
}
