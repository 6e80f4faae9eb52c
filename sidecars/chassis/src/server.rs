//! The functions behind their loopback ports: accepting, serving, and parking connections.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::connection::preface::{self, Protocol};
use crate::connection::{self, End, http2};
use crate::listeners::{self, Listeners};
use crate::settings::FunctionPort;
use crate::stream::Stream;
use crate::tenancy::{Admission, Hosted, Peers};
use crate::traffic::{OpenConnection, Traffic};
use crate::{Function, Problem, RequestBody, ResponseBody};

/// How long a connection that drains may stay busy before it closes after its answer.
pub(crate) const DRAIN_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept, which is mostly a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// A connection between two requests.
#[derive(Debug)]
pub(crate) struct Parked {
    stream: Stream,
    unread: Bytes,
    /// Index of its function.
    function: usize,
    open: OpenConnection,
}

impl Parked {
    /// What the client has sent and nobody has acted upon.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.unread
    }
}

impl AsFd for Parked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
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
    pub(crate) fn receive(&self, descriptor: OwnedFd, unread: Bytes) -> io::Result<Parked> {
        let stream = Stream::received(descriptor)?;
        let function = self.function_of(&stream)?;
        Ok(Parked {
            stream,
            unread,
            function,
            open: self.traffic.open(),
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
    drain: watch::Sender<bool>,
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
            peers,
            drain: watch::Sender::new(false),
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

    /// Accepts connections and serves them, and everything that is parked.
    pub(crate) fn resume(&mut self, listeners: &Listeners) -> io::Result<()> {
        for former in self.acceptors.drain(..) {
            former.abort();
        }
        self.drain.send_replace(false);
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

    /// Stops to accept and parks every connection as soon as it is between two requests.
    pub(crate) async fn park(&mut self) {
        for acceptor in &self.acceptors {
            acceptor.abort();
        }
        for acceptor in self.acceptors.drain(..) {
            // Ended, in one way or the other.
            let _ = acceptor.await;
        }
        self.drain.send_replace(true);
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
        self.connections().serve(parked);
    }

    fn connections(&self) -> Connections {
        Connections {
            intake: self.intake.clone(),
            functions: Arc::clone(&self.functions),
            peers: self.peers.clone(),
            drain: self.drain.clone(),
        }
    }
}

/// What is needed to serve connections.
#[derive(Clone)]
struct Connections {
    intake: Intake,
    functions: Arc<ArcSwap<Hosted>>,
    peers: Peers,
    drain: watch::Sender<bool>,
}

impl Connections {
    fn serve(&self, parked: Parked) {
        let Parked {
            stream,
            unread,
            function,
            open,
        } = parked;
        let Some(service) = self.service(function, &stream) else {
            return;
        };
        let mut drain = self.drain.subscribe();
        let intake = self.intake.clone();
        tokio::spawn(async move {
            let mut stream = stream;
            let parked = match preface::detect(&mut stream, unread, &mut drain).await {
                Protocol::Http1(read) => {
                    let io = TokioIo::new(stream);
                    match connection::serve(io, read, service, drain, DRAIN_LIMIT).await {
                        End::Parked { io, unread } => Some((io.into_inner(), unread)),
                        End::Failed(error) => {
                            tracing::debug!(%error, "Connection failed");
                            None
                        }
                        End::Closed => None,
                    }
                }
                Protocol::Http2(read) => {
                    let told = || intake.traffic.told_to_reconnect();
                    let served =
                        http2::serve(stream, read, service, drain, DRAIN_LIMIT, told).await;
                    if let Err(error) = served {
                        tracing::debug!(%error, "HTTP/2 connection failed");
                    }
                    None
                }
                Protocol::Undecided(unread) => Some((stream, unread)),
                Protocol::Gone => None,
            };
            if let Some((stream, unread)) = parked {
                intake.keep(Parked {
                    stream,
                    unread,
                    function,
                    open,
                });
            }
        });
    }

    /// Answers the requests of one connection by its function in use at the time of each.
    fn service(
        &self,
        index: usize,
        stream: &Stream,
    ) -> Option<impl Fn(Request<RequestBody>) -> BoxFuture<'static, Response<ResponseBody>> + use<>>
    {
        let name = self.intake.ports.get(index)?.function.clone();
        let traffic = self.intake.traffic.function(index)?;
        // A connection that is not connected any more has no requests.
        let peer = stream.peer().ok()?;
        let functions = Arc::clone(&self.functions);
        let admission: Arc<dyn Function> = Arc::new(Admission {
            hosted: Arc::clone(&self.functions),
            peers: self.peers.clone(),
            peer,
            function: name.clone(),
        });
        Some(move |request| {
            let hosted = functions.load();
            let function = match hosted.is_shared() {
                true => Some(&admission),
                false => hosted.function(&name),
            };
            match function.map(Arc::clone) {
                Some(function) => traffic.call(function, request),
                // Every port has a function, if only one that says that it is not configured.
                None => async {
                    Problem::new(StatusCode::NOT_FOUND, "no-function", "no function here")
                        .into_response()
                }
                .boxed(),
            }
        })
    }
}

enum Listener {
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

struct Acceptor {
    listener: Listener,
    function: usize,
    connections: Connections,
}

impl Acceptor {
    async fn run(self) {
        loop {
            match self.listener.accept().await {
                Ok(stream) => {
                    if let Stream::Tcp(tcp) = &stream
                        && let Err(error) = tcp.set_nodelay(true)
                    {
                        tracing::debug!(%error, "Connection was lost at once");
                        continue;
                    }
                    self.connections.serve(Parked {
                        stream,
                        unread: Bytes::new(),
                        function: self.function,
                        open: self.connections.intake.traffic.open(),
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "Connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}
