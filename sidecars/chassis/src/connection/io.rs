//! The socket as hyper sees it.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use tokio::time::Sleep;

use super::BUFFER;
use super::track::Track;

/// A head that has begun must be complete within this time. hyper's own limit would count the
/// time between two requests too and close idle connections.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Size of a read that goes through a buffer of ours.
const PIECE: usize = 8 * 1024;

/// Reads `replay` before the socket; while the connection drains, withholds new requests; notes
/// writes and flushes.
///
/// - Nothing is read from the socket before `replay` is empty, so that what hyper holds followed
///   by `replay` is always what the client sent.
/// - One read yields at most [`BUFFER`] bytes, whatever room hyper offers.
/// - A withheld read registers no waker: the bytes stay in the kernel and travel with the socket.
///   When the drain signal is withdrawn, the owner polls hyper, which reads again.
/// - A shutdown counts as a write without a flush: no connection is parked after it.
pub(super) struct ParkingIo<IO> {
    io: IO,
    replay: Bytes,
    track: Arc<Track>,
    head: Head,
}

/// The head that hyper is reading.
///
/// It has begun if bytes arrived between the request numbered `after` and the next one. The timer
/// exists only once a read found the head incomplete.
#[derive(Default)]
struct Head {
    after: Option<u64>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Head {
    fn received(&mut self, after: u64) {
        if self.after != Some(after) {
            self.after = Some(after);
            self.timer = None;
        }
    }

    fn poll_timeout(&mut self, after: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.after != Some(after) {
            return Poll::Pending;
        }
        self.timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(HEAD_TIMEOUT)))
            .as_mut()
            .poll(cx)
    }
}

impl<IO> ParkingIo<IO> {
    pub(super) fn new(io: IO, replay: Bytes, track: Arc<Track>) -> ParkingIo<IO> {
        ParkingIo {
            io,
            replay,
            track,
            head: Head::default(),
        }
    }

    /// The socket, and all that was sent beyond the last request: what hyper holds, then what it
    /// has not been given.
    pub(super) fn into_parts(self, held: Bytes) -> (IO, Bytes) {
        let unread = match (held.is_empty(), self.replay.is_empty()) {
            (_, true) => held,
            (true, false) => self.replay,
            (false, false) => {
                let mut unread = BytesMut::from(held);
                unread.extend_from_slice(&self.replay);
                unread.freeze()
            }
        };
        (self.io, unread)
    }
}

impl<IO: Read + Unpin> ParkingIo<IO> {
    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let length = self.replay.len().min(buffer.remaining()).min(BUFFER);
            buffer.put_slice(&self.replay.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if buffer.remaining() <= BUFFER {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let mut piece = [0; PIECE];
        let mut piece = ReadBuf::new(&mut piece);
        let polled = Pin::new(&mut self.io).poll_read(cx, piece.unfilled());
        buffer.put_slice(piece.filled());
        polled
    }
}

impl<IO: Read + Unpin> Read for ParkingIo<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.track.is_between_requests() {
            return this.poll_bytes(cx, buffer);
        }
        if this.track.is_draining() {
            return Poll::Pending;
        }
        let after = this.track.called();
        let polled = this.poll_bytes(cx, buffer);
        if polled.is_ready() {
            // The end of the stream counts too; hyper does not read after it.
            this.head.received(after);
        } else if this.head.poll_timeout(after, cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("request head was not complete within {HEAD_TIMEOUT:?}"),
            )));
        }
        polled
    }
}

impl<IO: Write + Unpin> Write for ParkingIo<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.track.written();
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.track.written();
        Pin::new(&mut self.io).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.io).poll_flush(cx);
        if let Poll::Ready(Ok(())) = polled {
            self.track.flushed();
        }
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.track.written();
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
