//! One side of a handover, spoken by hand, so that a test decides where it dies or hangs.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType, accept,
    bind, connect, listen, recvmsg, sendmsg, shutdown, socket_with,
};

/// How long to wait for the other side.
const PATIENCE: Duration = Duration::from_secs(20);

const HEADER: usize = 9;

/// A connection to the other side. Dropping it is what the kernel does when its process is killed.
pub(crate) struct Peer(OwnedFd);

/// A message.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) kind: char,
    pub(crate) id: u64,
    pub(crate) data: Vec<u8>,
    /// Held as the process would hold them.
    pub(crate) descriptors: Vec<OwnedFd>,
}

fn seqpacket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

/// A named socket that awaits the other side.
pub(crate) struct Listening(OwnedFd);

impl Listening {
    pub(crate) fn bind(path: &Path) -> Listening {
        let socket = seqpacket();
        bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        listen(&socket, 4).unwrap();
        Listening(socket)
    }

    pub(crate) fn accept(&self) -> Peer {
        self.next().unwrap()
    }

    /// The next to connect, if somebody does in time.
    pub(crate) fn next(&self) -> io::Result<Peer> {
        set_socket_timeout(&self.0, Timeout::Recv, Some(PATIENCE))?;
        Ok(Peer::new(accept(&self.0)?))
    }
}

impl Peer {
    fn new(socket: OwnedFd) -> Peer {
        for direction in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, direction, Some(PATIENCE)).unwrap();
        }
        Peer(socket)
    }

    pub(crate) fn connect(path: &Path) -> Peer {
        let socket = seqpacket();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        Peer::new(socket)
    }

    pub(crate) fn send(&self, kind: char, id: u64, data: &[u8], descriptors: &[BorrowedFd<'_>]) {
        self.try_send(kind, id, data, descriptors).unwrap();
    }

    /// Sends a message, if the other side is still there.
    pub(crate) fn try_send(
        &self,
        kind: char,
        id: u64,
        data: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)));
        }
        let mut header = [u8::try_from(kind).unwrap(); HEADER];
        header[1..].copy_from_slice(&id.to_le_bytes());
        let parts = [IoSlice::new(&header), IoSlice::new(data)];
        sendmsg(self.0.as_fd(), &parts, &mut ancillary, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Ends the connection in both directions.
    pub(crate) fn close(&self) {
        // It may have ended already.
        let _ = shutdown(&self.0, Shutdown::Both);
    }

    /// The next message; `None` when the other side has closed the connection.
    pub(crate) fn receive(&self) -> Option<Packet> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut buffer = vec![0; 256 * 1024];
        let received = recvmsg(
            self.0.as_fd(),
            &mut [IoSliceMut::new(&mut buffer)],
            &mut ancillary,
            RecvFlags::CMSG_CLOEXEC,
        );
        let length = match received {
            Ok(received) => received.bytes,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => panic!("nothing from the other side: {error}"),
        };
        let header = buffer[..length].first_chunk::<HEADER>()?;
        let descriptors = ancillary.drain().flat_map(|message| match message {
            RecvAncillaryMessage::ScmRights(passed) => passed.collect(),
            _ => Vec::new(),
        });
        Some(Packet {
            kind: header[0].into(),
            id: u64::from_le_bytes(header[1..].try_into().unwrap()),
            data: buffer[HEADER..length].to_vec(),
            descriptors: descriptors.collect(),
        })
    }

    /// The next message, which must be of a kind.
    #[track_caller]
    pub(crate) fn expect(&self, kind: char) -> Packet {
        match self.receive() {
            Some(packet) if packet.kind == kind => packet,
            other => panic!("{other:?} arrived instead of {kind:?}"),
        }
    }
}
