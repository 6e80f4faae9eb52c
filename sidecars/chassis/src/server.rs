//! The functions behind their loopback ports: accepting, serving, and parking connections.

mod connections;

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::Leave;
use crate::listeners::{self, Listeners};
use crate::settings::FunctionPort;
use crate::stream::Stream;
use crate::tenancy::{Door, Hosted, Peers};
use crate::traffic::{OpenConnection, Traffic};
use connections::{Acceptor, Connections, Listener};

/// How long a connection that drains may stay busy before it closes after its answer.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// A connection between two requests, or an upgraded one between two workers.
#[derive(Debug)]
pub(crate) struct Parked {
    stream: Stream,
    unread: Bytes,
    /// The state of its function, if it speaks another protocol.
    upgraded: Option<Bytes>,
    /// Index of its function.
    function: usize,
    open: OpenConnection,
}

impl Parked {
    /// What the client has sent and nobody has acted upon.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Index of its function.
    pub(crate) fn function(&self) -> usize {
        self.function
    }

    /// The state of its function, if it speaks another protocol.
    pub(crate) fn upgraded(&self) -> Option<&[u8]> {
        self.upgraded.as_deref()
    }
}

impl AsFd for Parked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A connection that another process passed.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) stream: OwnedFd,
    pub(crate) unread: Bytes,
    pub(crate) upgraded: Option<Bytes>,
}

/// Takes in connections, which wait in the server's queue of parked ones.
#[derive(Clone)]
pub(crate) struct Intake {
    ports: Arc<[FunctionPort]>,
    traffic: Arc<Traffic>,
    queue: mpsc::UnboundedSender<Parked>,
}

impl Intake {
    /// Takes a connection that another process passed. It is not served yet.
    pub(crate) fn receive(&self, passed: Passed) -> io::Result<Parked> {
        let Passed {
            stream,
            unread,
            upgraded,
        } = passed;
        let stream = Stream::received(stream)?;
        let function = self.function_of(&stream)?;
        Ok(Parked {
            stream,
            unread,
            upgraded,
            function,
            open: self.traffic.open(function),
        })
    }

    /// Index of the function that a connection was made to.
    fn function_of(&self, stream: &Stream) -> io::Result<usize> {
        let unknown = |place: String| {
            io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a connection of {place}, which is no function's"),
            )
        };
        match stream {
            Stream::Tcp(tcp) => {
                let port = tcp.local_addr()?.port();
                let function = self.ports.iter().position(|known| known.port == port);
                function.ok_or_else(|| unknown(format!("port {port}")))
            }
            Stream::Unix(unix) => {
                let is_of = |known: &FunctionPort| {
                    let socket = known.socket.as_deref();
                    socket.is_some_and(|path| listeners::is_at(unix.as_fd(), path))
                };
                let function = self.ports.iter().position(is_of);
                function.ok_or_else(|| unknown(format!("{:?}", unix.local_addr())))
            }
        }
    }

    /// The name of the function with an index.
    pub(crate) fn name(&self, function: usize) -> &str {
        &self.ports[function].function
    }

    /// Puts a connection into the queue of parked ones.
    pub(crate) fn keep(&self, parked: Parked) {
        // The queue ends with the worker, and its connections with it.
        let _ = self.queue.send(parked);
    }
}

/// Serves the functions.
pub(crate) struct Server {
    intake: Intake,
    functions: Arc<ArcSwap<Hosted>>,
    peers: Peers,
    door: Door,
    drain: watch::Sender<bool>,
    /// What upgraded connections are told when the others drain.
    leave: watch::Sender<Option<Leave>>,
    parked: mpsc::UnboundedReceiver<Parked>,
    acceptors: Vec<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(
        ports: Vec<FunctionPort>,
        functions: Arc<ArcSwap<Hosted>>,
        peers: Peers,
        traffic: Arc<Traffic>,
    ) -> Server {
        let (queue, parked) = mpsc::unbounded_channel();
        Server {
            intake: Intake {
                ports: ports.into(),
                traffic,
                queue,
            },
            functions,
            door: Door::new(peers.clone()),
            peers,
            drain: watch::Sender::new(false),
            leave: watch::Sender::new(None),
            parked,
            acceptors: Vec::new(),
        }
    }

    pub(crate) fn intake(&self) -> Intake {
        self.intake.clone()
    }

    pub(crate) fn traffic(&self) -> &Arc<Traffic> {
        &self.intake.traffic
    }

    /// Indices of the functions with some names.
    pub(crate) fn indices(&self, names: &BTreeSet<&str>) -> Vec<usize> {
        let ports = self.intake.ports.iter().enumerate();
        ports
            .filter(|(_, port)| names.contains(port.function.as_str()))
            .map(|(index, _)| index)
            .collect()
    }

    /// Accepts connections and serves them, and everything that is parked.
    pub(crate) fn resume(&mut self, listeners: &Listeners) -> io::Result<()> {
        for former in self.acceptors.drain(..) {
            former.abort();
        }
        self.drain.send_replace(false);
        self.move_upgraded(None);
        let (ports, sockets) = listeners.duplicate()?.into_inner();
        for (function, port) in ports.into_iter().enumerate() {
            self.accept(function, Listener::Port(TcpListener::from_std(port)?));
        }
        for (function, socket) in sockets.into_iter().enumerate() {
            self.accept(function, Listener::Socket(UnixListener::from_std(socket)?));
        }
        while let Ok(parked) = self.parked.try_recv() {
            self.serve(parked);
        }
        Ok(())
    }

    fn accept(&mut self, function: usize, listener: Listener) {
        let acceptor = Acceptor {
            listener,
            function,
            connections: self.connections(),
        };
        self.acceptors.push(tokio::spawn(acceptor.run()));
    }

    /// Stops to accept and parks every connection as soon as it is between two requests. Upgraded
    /// ones are told how to leave.
    pub(crate) async fn park(&mut self, leave: Leave) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        for acceptor in self.acceptors.drain(..) {
            // Ended, in one way or the other.
            let _ = acceptor.await;
        }
        self.move_upgraded(Some(leave));
        self.drain.send_replace(true);
    }

    /// Tells upgraded connections to leave the function that they are with, or that they may stay.
    pub(crate) fn move_upgraded(&self, leave: Option<Leave>) {
        self.leave.send_replace(leave);
    }

    /// The next connection that parked or was taken in.
    pub(crate) async fn parked(&mut self) -> Parked {
        match self.parked.recv().await {
            Some(parked) => parked,
            // Not before `intake`, which is part of `self`, is gone.
            None => std::future::pending().await,
        }
    }

    /// Whether a parked connection waits to be taken.
    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Serves a connection.
    pub(crate) fn serve(&self, parked: Parked) {
        self.connections().resume(parked);
    }

    fn connections(&self) -> Connections {
        Connections {
            intake: self.intake.clone(),
            functions: Arc::clone(&self.functions),
            peers: self.peers.clone(),
            door: self.door.clone(),
            drain: self.drain.clone(),
            leave: self.leave.clone(),
        }
    }
}
