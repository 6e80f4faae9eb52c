//! Messages with descriptors over `SOCK_SEQPACKET` Unix sockets: each arrives whole or not at all.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, listen, recvmsg, sendmsg, socket_with, socketpair,
};

/// Most descriptors in one message: the most functions that a sidecar can host.
pub(crate) const MAX_DESCRIPTORS: usize = 64;

/// Connections that wait to be accepted: those of the other slot's worker, at most a few.
const BACKLOG: i32 = 8;

/// Two connected, blocking ends.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Connects to a named socket. With [`SocketFlags::NONBLOCK`] it fails rather than wait for a place
/// among the listener's waiting connections.
pub(crate) fn connect(path: &Path, flags: SocketFlags) -> io::Result<OwnedFd> {
    let socket = unix_socket(flags)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket)
}

fn unix_socket(flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        flags | SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a message made of `parts`.
pub(crate) fn send(
    socket: impl AsFd,
    parts: &[IoSlice<'_>],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "{} descriptors; allowed are {MAX_DESCRIPTORS}",
                descriptors.len()
            ),
        ));
    }
    rustix::io::retry_on_intr(|| {
        sendmsg(socket.as_fd(), parts, &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    Ok(())
}

/// Receives a message into `buffer`: its length, 0 when the other end is gone, and its descriptors.
pub(crate) fn receive(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        recvmsg(
            socket.as_fd(),
            &mut [IoSliceMut::new(buffer)],
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
    Ok((received.bytes, descriptors))
}

/// The error of a message that this version does not understand.
pub(crate) fn invalid(found: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{found} arrived on a socket between slots"),
    )
}

/// A named, non-blocking socket that takes connections of the same user.
#[derive(Debug)]
pub(crate) struct Acceptor(OwnedFd);

impl Acceptor {
    /// Listens under `path`. The name appears in one step, in place of a former socket's.
    pub(crate) fn bind(path: &Path) -> io::Result<Acceptor> {
        let socket = unix_socket(SocketFlags::NONBLOCK)?;
        let mut draft = path.as_os_str().to_owned();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        bind(&socket, &SocketAddrUnix::new(&draft)?)?;
        listen(&socket, BACKLOG)?;
        std::fs::rename(draft, path)?;
        Ok(Acceptor(socket))
    }

    /// The listening socket itself, for a reactor.
    pub(crate) fn into_inner(self) -> OwnedFd {
        self.0
    }
}

impl AsFd for Acceptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What waited at a listening socket.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// A connection of the same user.
    Peer(OwnedFd),
    /// A connection of another user, which was closed.
    Stranger,
}

/// Takes the next connection that waits at a listening socket; an error of kind `WouldBlock` if
/// there is none.
pub(crate) fn accept(listening: impl AsFd, flags: SocketFlags) -> io::Result<Accepted> {
    let socket = match accept_with(listening.as_fd(), flags | SocketFlags::CLOEXEC) {
        Ok(socket) => socket,
        Err(Errno::INTR) => return Err(Errno::AGAIN.into()),
        Err(error) => return Err(error.into()),
    };
    // Not rustix's: slots are in process namespaces of their own, where the other's number reads as
    // 0, and that is a number which rustix's type cannot hold.
    let peer = getsockopt(&socket, PeerCredentials)?;
    if peer.uid() == rustix::process::geteuid().as_raw() {
        Ok(Accepted::Peer(socket))
    } else {
        Ok(Accepted::Stranger)
    }
}
