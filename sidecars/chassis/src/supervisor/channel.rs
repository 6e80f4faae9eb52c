//! Messages with descriptors between a supervisor, its worker and the other slot's worker, over
//! blocking `SOCK_SEQPACKET` sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen, recvmsg, sendmsg, socket_with, socketpair,
};

/// Most descriptors in one message: the most functions that a sidecar can host.
pub(crate) const MAX_DESCRIPTORS: usize = 64;

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
}

const HELD: u8 = 1;
const HOLD: u8 = 2;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

impl Channel {
    /// Two connected ends.
    pub(crate) fn pair() -> io::Result<(Channel, Channel)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Channel(ours), Channel(theirs)))
    }

    pub(crate) fn connect(path: &Path) -> io::Result<Channel> {
        let socket = unix_socket(SocketFlags::CLOEXEC)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Channel(socket))
    }

    pub(crate) fn send_held(
        &self,
        restarts: u64,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut bytes = [HELD; 9];
        bytes[1..].copy_from_slice(&restarts.to_le_bytes());
        self.send(&bytes, descriptors)
    }

    pub(crate) fn send_hold(&self, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send(&[HOLD], descriptors)
    }

    fn send(&self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty()
            && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors))
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "{} descriptors; allowed are {MAX_DESCRIPTORS}",
                    descriptors.len()
                ),
            ));
        }
        rustix::io::retry_on_intr(|| {
            sendmsg(
                &self.0,
                &[IoSlice::new(bytes)],
                &mut ancillary,
                SendFlags::NOSIGNAL,
            )
        })?;
        Ok(())
    }

    /// Waits for a message; `None` when the other end is gone.
    pub(crate) fn receive(&self) -> io::Result<Option<Message>> {
        let mut bytes = [0; 16];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(
                &self.0,
                &mut [IoSliceMut::new(&mut bytes)],
                &mut ancillary,
                RecvFlags::CMSG_CLOEXEC,
            )
        })?;
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(passed) = message {
                descriptors.extend(passed);
            }
        }
        if received
            .flags
            .intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC)
        {
            return Err(invalid("a truncated message"));
        }
        match &bytes[..received.bytes] {
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
            _ => Err(invalid("a message of unknown form")),
        }
    }
}

fn invalid(found: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{found} arrived on a supervisor's socket"),
    )
}

fn unix_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags,
        None,
    )?)
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

/// A named socket that takes connections of the same user.
#[derive(Debug)]
pub(crate) struct Acceptor(OwnedFd);

impl Acceptor {
    /// Listens under `path`. The name appears in one step, in place of a former socket's.
    pub(crate) fn bind(path: &Path) -> io::Result<Acceptor> {
        let socket = unix_socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        bind(&socket, &SocketAddrUnix::new(&draft)?)?;
        listen(&socket, 8)?;
        std::fs::rename(draft, path)?;
        Ok(Acceptor(socket))
    }

    /// The next waiting connection of the same user, if there is one.
    pub(crate) fn accept(&self) -> io::Result<Option<Channel>> {
        let socket = match accept_with(&self.0, SocketFlags::CLOEXEC) {
            Ok(socket) => socket,
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let same_user = socket_peercred(&socket)?.uid == rustix::process::geteuid();
        Ok(same_user.then_some(Channel(socket)))
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        drop(Acceptor::bind(&path).unwrap());
        assert!(Channel::connect(&path).is_err());
        let acceptor = Acceptor::bind(&path).unwrap();
        assert!(acceptor.accept().unwrap().is_none());
        let client = Channel::connect(&path).unwrap();
        let server = acceptor.accept().unwrap().unwrap();
        server.send_held(0, &[]).unwrap();
        assert!(matches!(
            client.receive().unwrap(),
            Some(Message::Held { .. })
        ));
    }
}
