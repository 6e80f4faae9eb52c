use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{Shutdown, SocketFlags, shutdown};
use serde::Serialize;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::message::{HEADER, Hello, Message, Ready, Welcome, kind};
use crate::connection::MAX_UNREAD;
use crate::connection::upgrade::MAX_HAND_OVER;
use crate::packet::{self, Accepted, Acceptor};
use crate::server::Parked;
use crate::{Leave, State};

/// Before the state of an upgraded connection: its length.
const LENGTH: usize = size_of::<u32>();
/// Longest message: a connection with everything that may have been read of it.
const MAX_MESSAGE: usize = HEADER + LENGTH + MAX_HAND_OVER;
const _: () = assert!(MAX_HAND_OVER >= MAX_UNREAD);

/// The end of a connection between two slots.
///
/// What arrives is read by a task of its own: both ends may send at the same time, and neither may
/// wait for the other to read first.
#[derive(Debug)]
pub(crate) struct Link {
    sender: Sender,
    incoming: mpsc::UnboundedReceiver<Message>,
    reader: JoinHandle<()>,
}

/// Sends messages over a [`Link`].
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    /// It is used for its place in the reactor only; its socket is of another kind.
    stream: Arc<UnixStream>,
    takes_states: Arc<AtomicBool>,
}

impl Link {
    /// Connects to the owner.
    pub(crate) fn connect(path: &Path) -> io::Result<Link> {
        Link::new(packet::connect(path, SocketFlags::NONBLOCK)?)
    }

    fn new(socket: OwnedFd) -> io::Result<Link> {
        let sender = Sender {
            stream: Arc::new(UnixStream::from_std(socket.into())?),
            takes_states: Arc::new(AtomicBool::new(false)),
        };
        let (queue, incoming) = mpsc::unbounded_channel();
        let reader = tokio::spawn(read(sender.clone(), queue));
        Ok(Link {
            sender,
            incoming,
            reader,
        })
    }

    pub(crate) fn sender(&self) -> &Sender {
        &self.sender
    }

    /// The next message; `None` when the other end is gone.
    pub(crate) async fn receive(&mut self) -> Option<Message> {
        self.incoming.recv().await
    }

    /// Whether a message is here that a busy process has had no time to read yet, e.g. because
    /// thousands of connections park at the same time.
    pub(crate) async fn has_arrived(&mut self) -> bool {
        // Once to hear of the socket, once for the task that reads it.
        for _ in 0..2 {
            tokio::task::yield_now().await;
        }
        !self.incoming.is_empty()
    }

    /// Waits until the other end is gone. Messages that arrived before can still be received.
    pub(crate) async fn ended(&mut self) {
        if !self.reader.is_finished() {
            // However it ended, nothing more arrives.
            let _ = (&mut self.reader).await;
        }
    }

    /// Closes the connection. Messages that arrived before can still be received, later ones
    /// cannot be sent by the other end.
    pub(crate) fn close(&self) {
        // A connection that is not connected any more is as good as closed.
        let _ = shutdown(self.sender.stream.as_fd(), Shutdown::Both);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.close();
        self.reader.abort();
    }
}

async fn read(sender: Sender, queue: mpsc::UnboundedSender<Message>) {
    let mut buffer = vec![0; MAX_MESSAGE];
    loop {
        let received = sender
            .stream
            .async_io(Interest::READABLE, || {
                packet::receive(sender.stream.as_fd(), &mut buffer)
            })
            .await;
        let message = match received {
            Ok((0, _)) => return,
            Ok((length, descriptors)) => Message::decode(&buffer[..length], descriptors),
            Err(error) => Err(error),
        };
        match message {
            Ok(message) => {
                if queue.send(message).is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::error!(%error, "Other slot was not understood");
                return;
            }
        }
    }
}

impl Sender {
    async fn send(
        &self,
        kind: u8,
        id: u64,
        data: &[IoSlice<'_>],
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let mut header = [kind; HEADER];
        header[1..].copy_from_slice(&id.to_le_bytes());
        let parts = [&[IoSlice::new(&header)], data].concat();
        self.stream
            .async_io(Interest::WRITABLE, || {
                packet::send(self.stream.as_fd(), &parts, descriptors)
            })
            .await
    }

    /// Notes what the other end has said of itself.
    pub(crate) fn learn(&self, takes_states: bool) {
        self.takes_states.store(takes_states, Ordering::Relaxed);
    }

    /// Whether the other end takes states.
    pub(crate) fn takes_states(&self) -> bool {
        self.takes_states.load(Ordering::Relaxed)
    }

    /// How upgraded connections leave for the other end.
    pub(crate) fn leave(&self) -> Leave {
        match self.takes_states() {
            true => Leave::HandOver,
            false => Leave::Close,
        }
    }

    async fn send_json(&self, kind: u8, value: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_vec(value)?;
        self.send(kind, 0, &[IoSlice::new(&text)], &[]).await
    }

    pub(crate) async fn hello(&self, hello: &Hello) -> io::Result<()> {
        self.send_json(kind::HELLO, hello).await
    }

    pub(crate) async fn listeners(
        &self,
        listeners: &[BorrowedFd<'_>],
        welcome: &Welcome,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(welcome)?;
        self.send(kind::LISTENERS, 0, &[IoSlice::new(&text)], listeners)
            .await
    }

    pub(crate) async fn take(&self) -> io::Result<()> {
        self.send(kind::TAKE, 0, &[], &[]).await
    }

    pub(crate) async fn ready(&self, ready: &Ready) -> io::Result<()> {
        self.send_json(kind::READY, ready).await
    }

    pub(crate) async fn begin(&self, witness: BorrowedFd<'_>) -> io::Result<()> {
        self.send(kind::BEGIN, 0, &[], &[witness]).await
    }

    pub(crate) async fn refused(&self, reason: &str) -> io::Result<()> {
        self.send(kind::REFUSED, 0, &[IoSlice::new(reason.as_bytes())], &[])
            .await
    }

    pub(crate) async fn connection(&self, id: u64, parked: &Parked) -> io::Result<()> {
        let unread = IoSlice::new(parked.unread());
        let stream = [parked.as_fd()];
        let Some(state) = parked.upgraded() else {
            return self.send(kind::CONNECTION, id, &[unread], &stream).await;
        };
        let length = u32::try_from(state.len()).map_err(io::Error::other)?;
        let length = length.to_le_bytes();
        let data = [IoSlice::new(&length), IoSlice::new(state), unread];
        self.send(kind::UPGRADED, id, &data, &stream).await
    }

    pub(crate) async fn state(&self, name: &str, state: &State) -> io::Result<()> {
        let name = IoSlice::new(name.as_bytes());
        self.send(kind::STATE, 0, &[name], &[state.as_fd()]).await
    }

    pub(crate) async fn open(&self) -> io::Result<()> {
        self.send(kind::OPEN, 0, &[], &[]).await
    }

    pub(crate) async fn held(&self, id: u64) -> io::Result<()> {
        self.send(kind::HELD, id, &[], &[]).await
    }

    pub(crate) async fn commit(&self, lock: BorrowedFd<'_>) -> io::Result<()> {
        self.send(kind::COMMIT, 0, &[], &[lock]).await
    }
}

/// Tells an owner from another one that awaits its standby at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnerId {
    inode: u64,
    /// Nanoseconds of the file system's clock; the number of a file may be used again.
    made: i128,
}

impl OwnerId {
    /// The owner at a path; `None` if there is no socket.
    pub(crate) fn at(path: &Path) -> Option<OwnerId> {
        let socket = std::fs::symlink_metadata(path).ok()?;
        Some(OwnerId {
            inode: socket.ino(),
            made: i128::from(socket.mtime()) * 1_000_000_000 + i128::from(socket.mtime_nsec()),
        })
    }
}

/// The socket on which an owner awaits its standby.
#[derive(Debug)]
pub(crate) struct OwnerSocket(UnixStream);

impl OwnerSocket {
    /// Listens in the place of a former owner.
    pub(crate) fn bind(path: &Path) -> io::Result<OwnerSocket> {
        let listening = Acceptor::bind(path)?.into_inner();
        Ok(OwnerSocket(UnixStream::from_std(listening.into())?))
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Link> {
        loop {
            let accepted = self
                .0
                .async_io(Interest::READABLE, || {
                    packet::accept(self.0.as_fd(), SocketFlags::NONBLOCK)
                })
                .await?;
            match accepted {
                Accepted::Peer(socket) => return Link::new(socket),
                Accepted::Stranger => tracing::warn!("A process of another user was turned away"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_owner_keeps_its_identity_and_the_next_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("owner.sock");
        assert_eq!(OwnerId::at(&path), None);
        let owner = OwnerSocket::bind(&path).unwrap();
        let id = OwnerId::at(&path);
        assert!(id.is_some());
        drop(Link::connect(&path).unwrap());
        assert_eq!(OwnerId::at(&path), id);
        drop(owner);
        let next = OwnerSocket::bind(&path).unwrap();
        assert_ne!(OwnerId::at(&path), id);
        drop(next);
    }
}
