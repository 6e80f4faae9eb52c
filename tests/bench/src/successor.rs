//! The same function in a sidecar that is replaced as proxies replace themselves: the new process
//! gets the listening sockets only. The former one takes no more connections, and closes those that
//! it has: idle ones at once, the others after their answers. So it is what swaps are compared with.

use std::convert::Infallible;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use outrigger_control::layout;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::function::{Noting, Parameters, shared_directory};

/// Where the process that serves waits for the next one.
const SOCKET: &str = "listener.sock";
/// Longest time for answers that were begun.
const DRAIN: Duration = Duration::from_secs(20);

/// Serves until a successor comes, and then waits to be stopped.
///
/// # Errors
/// When there is no listening socket, or none for a successor.
pub fn main() -> anyhow::Result<()> {
    tokio::runtime::Runtime::new()?.block_on(async {
        let directory = shared_directory();
        let path = directory.join(SOCKET);
        let listener = match from_predecessor(&path).await {
            Some(listener) => listener,
            None => bound().await?,
        };
        let mut stop = signal(SignalKind::terminate())?;
        let successors =
            successors(&path).with_context(|| format!("cannot listen at {}", path.display()))?;
        let connections = GracefulShutdown::new();
        let noting = Arc::new(Noting::new(&directory, Parameters::default()));
        let succeeded = serve(&listener, &successors, &connections, &noting, &mut stop).await;
        drop(listener);
        // What does not end in time is closed with the process.
        let _ = tokio::time::timeout(DRAIN, connections.shutdown()).await;
        if succeeded {
            stop.recv().await;
        }
        Ok(())
    })
}

async fn bound() -> anyhow::Result<TcpListener> {
    let address = (Ipv4Addr::UNSPECIFIED, layout::DEFAULT_FUNCTION_PORT);
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address:?}"))
}

/// The listening socket of the process that serves, if there is one.
async fn from_predecessor(path: &Path) -> Option<TcpListener> {
    let stream = UnixStream::connect(path).await.ok()?;
    let received = stream.async_io(tokio::io::Interest::READABLE, || receive(&stream));
    let listener = std::net::TcpListener::from(received.await.ok()?);
    TcpListener::from_std(listener).ok()
}

/// Listens in place of a former process.
fn successors(path: &Path) -> io::Result<UnixListener> {
    let draft = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    let _ = std::fs::remove_file(&draft);
    let listener = UnixListener::bind(&draft)?;
    std::fs::rename(draft, path)?;
    Ok(listener)
}

/// Serves until the process is to stop, or has a successor, which is told by `true`.
async fn serve(
    listener: &TcpListener,
    successors: &UnixListener,
    connections: &GracefulShutdown,
    noting: &Arc<Noting>,
    stop: &mut Signal,
) -> bool {
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let noting = Arc::clone(noting);
                let service = service_fn(move |request| {
                    let noting = Arc::clone(&noting);
                    async move { Ok::<_, Infallible>(noting.respond(request).await) }
                });
                let _ = stream.set_nodelay(true);
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connections.watch(connection));
            }
            Ok((successor, _)) = successors.accept() => {
                if send(&successor, listener).is_ok() {
                    return true;
                }
            }
            _ = stop.recv() => return false,
        }
    }
}

fn send(socket: impl AsFd, passed: impl AsFd) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let passed = [passed.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&passed));
    sendmsg(
        socket,
        &[IoSlice::new(b"L")],
        &mut ancillary,
        SendFlags::NOSIGNAL,
    )?;
    Ok(())
}

fn receive(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        flags,
    )?;
    let received = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut passed) => passed.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "no descriptor"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    #[tokio::test]
    async fn a_successor_listens_where_its_predecessor_did() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(SOCKET);
        assert!(from_predecessor(&path).await.is_none());
        let first = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let waiting = successors(&path).unwrap();
        let give = async {
            let (successor, _) = waiting.accept().await.unwrap();
            send(&successor, &first).unwrap();
        };
        let ((), second) = tokio::join!(give, from_predecessor(&path));
        let second = second.unwrap();
        assert_eq!(second.local_addr().unwrap(), first.local_addr().unwrap());
        drop(first);
        let address = second.local_addr().unwrap();
        let connect = tokio::net::TcpStream::connect(address);
        let (accepted, connected) = tokio::join!(second.accept(), connect);
        assert_eq!(
            accepted.unwrap().1,
            connected.unwrap().local_addr().unwrap()
        );
        // The place of a process that has gone is taken by the next.
        successors(&path).unwrap();
    }
}
