//! One connection, from its acceptance until it ends or is parked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::FutureExt;
use http::StatusCode;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::time::timeout;

use super::{DRAIN_LIMIT, Intake, Parked};
use crate::connection::preface::{self, Protocol};
use crate::connection::{self, End, http2, upgrade};
use crate::stream::Stream;
use crate::tenancy::{Admission, Barred, Door, Hosted, Peers, Seat, Unknown};
use crate::{Function, HandOver, Leave, Problem};

/// Pause after a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);
/// Longest time to tell a caller that it is not served.
const DISMISSAL: Duration = Duration::from_secs(10);

/// What is needed to serve connections.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) intake: Intake,
    pub(super) functions: Arc<ArcSwap<Hosted>>,
    pub(super) peers: Peers,
    pub(super) door: Door,
    pub(super) drain: watch::Sender<bool>,
    pub(super) leave: watch::Sender<Option<Leave>>,
}

/// A connection that is not served here any more and lives on.
struct Left {
    stream: Stream,
    unread: Bytes,
    upgraded: Option<Bytes>,
}

impl Connections {
    /// Serves a connection that was let in.
    pub(super) fn resume(&self, parked: Parked) {
        let seat = match self.door_of(parked.function) {
            None => None,
            Some(door) => match parked.stream.peer() {
                Ok(peer) => Some(door.keep(peer)),
                // It is not connected any more.
                Err(_) => return,
            },
        };
        self.serve(parked, seat);
    }

    /// The door of a function that listens on more than the pod's own loopback.
    fn door_of(&self, function: usize) -> Option<&Door> {
        let port = self.intake.ports.get(function)?;
        (!port.address.is_loopback()).then_some(&self.door)
    }

    fn serve(&self, parked: Parked, mut seat: Option<Seat>) {
        let Parked {
            stream,
            unread,
            upgraded,
            function,
            open,
        } = parked;
        let Some(target) = self.target(function, &stream) else {
            return;
        };
        let connections = self.clone();
        tokio::spawn(async move {
            let named = match &mut seat {
                None => Some(Ok(())),
                Some(seat) => connections.named(seat).await,
            };
            let left = match (named, upgraded) {
                (None, upgraded) => Some(Left {
                    stream,
                    unread,
                    upgraded,
                }),
                (Some(Err(Barred::Full)), _) => {
                    connections.intake.traffic.turned_away();
                    None
                }
                (Some(Err(Barred::Unknown)), None) => {
                    connections.dismiss(stream, unread, function).await;
                    None
                }
                // It does not speak HTTP any more.
                (Some(Err(Barred::Unknown)), Some(_)) => None,
                (Some(Ok(())), None) => {
                    connections
                        .requests(stream, unread, &target, function)
                        .await
                }
                (Some(Ok(())), Some(state)) => {
                    let begun = HandOver {
                        stream,
                        unread,
                        state,
                    };
                    connections.upgraded(begun, &target).await
                }
            };
            if let Some(Left {
                stream,
                unread,
                upgraded,
            }) = left
            {
                connections.intake.keep(Parked {
                    stream,
                    unread,
                    upgraded,
                    function,
                    open,
                });
            }
        });
    }

    /// Waits until somebody names the application of a connection; `None` if this worker drains
    /// before.
    async fn named(&self, seat: &mut Seat) -> Option<Result<(), Barred>> {
        let mut drain = self.drain.subscribe();
        tokio::select! {
            biased;
            named = self.door.named(seat) => Some(named),
            _ = drain.wait_for(|draining| *draining) => None,
        }
    }

    /// Tells a caller whom nobody named why it is not served.
    async fn dismiss(&self, stream: Stream, unread: Bytes, function: usize) {
        let Ok(peer) = stream.peer() else { return };
        let target = Target {
            functions: Arc::clone(&self.functions),
            admission: Arc::new(Unknown(peer)),
            name: String::new(),
        };
        let told = self.requests(stream, unread, &target, function);
        // Whoever asks nothing in that time hears nothing.
        let _ = timeout(DISMISSAL, told).await;
    }

    /// Answers requests, until the connection ends or leaves.
    async fn requests(
        &self,
        mut stream: Stream,
        unread: Bytes,
        target: &Target,
        function: usize,
    ) -> Option<Left> {
        let traffic = self.intake.traffic.function(function)?;
        let service = |request| {
            let function = target.function();
            match function {
                Some(function) => traffic.call(function, request),
                // Every port has a function, if only one that says that it is not configured.
                None => async { no_function().into_response() }.boxed(),
            }
        };
        let mut drain = self.drain.subscribe();
        let between = |stream, unread| {
            Some(Left {
                stream,
                unread,
                upgraded: None,
            })
        };
        match preface::detect(&mut stream, unread, &mut drain).await {
            Protocol::Http1(read) => {
                let io = TokioIo::new(stream);
                match connection::serve(io, read, service, drain, DRAIN_LIMIT).await {
                    End::Parked { io, unread } => between(io.into_inner(), unread),
                    End::Switched { io, unread, state } => {
                        let begun = HandOver {
                            stream: io.into_inner(),
                            unread,
                            state,
                        };
                        self.upgraded(begun, target).await
                    }
                    End::Failed(error) => {
                        tracing::debug!(%error, "Connection failed");
                        None
                    }
                    End::Closed => None,
                }
            }
            Protocol::Http2(read) => {
                let told = || self.intake.traffic.told_to_reconnect();
                let served = http2::serve(stream, read, service, drain, DRAIN_LIMIT, told).await;
                if let Err(error) = served {
                    tracing::debug!(%error, "HTTP/2 connection failed");
                }
                None
            }
            Protocol::Undecided(unread) => between(stream, unread),
            Protocol::Gone => None,
        }
    }

    /// Lets the function speak its own protocol, until the connection ends or leaves.
    async fn upgraded(&self, begun: HandOver, target: &Target) -> Option<Left> {
        let function = |state, connection| match target.function() {
            Some(function) => function.upgraded(state, connection),
            None => async { None }.boxed(),
        };
        let leave = self.leave.subscribe();
        let HandOver {
            stream,
            unread,
            state,
        } = upgrade::serve(begun, function, leave, DRAIN_LIMIT).await?;
        Some(Left {
            stream,
            unread,
            upgraded: Some(state),
        })
    }

    /// What a connection reaches; `None` if it is not connected any more.
    fn target(&self, index: usize, stream: &Stream) -> Option<Target> {
        let name = self.intake.ports.get(index)?.function.clone();
        let peer = stream.peer().ok()?;
        Some(Target {
            functions: Arc::clone(&self.functions),
            admission: Arc::new(Admission {
                hosted: Arc::clone(&self.functions),
                peers: self.peers.clone(),
                peer,
                function: name.clone(),
            }),
            name,
        })
    }
}

/// The function that one connection reaches.
struct Target {
    functions: Arc<ArcSwap<Hosted>>,
    admission: Arc<dyn Function>,
    name: String,
}

impl Target {
    /// The one in use now.
    fn function(&self) -> Option<Arc<dyn Function>> {
        let hosted = self.functions.load();
        match hosted.is_shared() {
            true => Some(Arc::clone(&self.admission)),
            false => hosted.function(&self.name).cloned(),
        }
    }
}

fn no_function() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-function", "no function here")
}

pub(super) enum Listener {
    Port(TcpListener),
    Socket(UnixListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Port(port) => Ok(Stream::Tcp(port.accept().await?.0)),
            Listener::Socket(socket) => Ok(Stream::Unix(socket.accept().await?.0)),
        }
    }
}

pub(super) struct Acceptor {
    pub(super) listener: Listener,
    pub(super) function: usize,
    pub(super) connections: Connections,
}

impl Acceptor {
    pub(super) async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    if let Stream::Tcp(tcp) = &stream
                        && let Err(error) = tcp.set_nodelay(true)
                    {
                        tracing::debug!(%error, "Connection was lost at once");
                        continue;
                    }
                    self.begin(stream);
                }
                Err(error) => {
                    tracing::warn!(%error, "Connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves a new connection, if there is a place for it.
    fn begin(&self, stream: Stream) {
        let traffic = &self.connections.intake.traffic;
        let seat = match self.connections.door_of(self.function) {
            None => None,
            Some(door) => {
                let Ok(peer) = stream.peer() else { return };
                let Some(seat) = door.enter(peer) else {
                    tracing::debug!(%peer, "Connection is one too many");
                    traffic.turned_away();
                    return;
                };
                Some(seat)
            }
        };
        let parked = Parked {
            stream,
            unread: Bytes::new(),
            upgraded: None,
            function: self.function,
            open: traffic.open(self.function),
        };
        self.connections.serve(parked, seat);
    }
}
