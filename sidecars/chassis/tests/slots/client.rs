//! A client of one connection, which decides by itself when which byte is sent.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use crate::sidecar::Seen;

/// An answer that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a function is.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Port(u16),
    Socket(PathBuf),
}

impl From<u16> for Target {
    fn from(port: u16) -> Target {
        Target::Port(port)
    }
}

impl From<PathBuf> for Target {
    fn from(socket: PathBuf) -> Target {
        Target::Socket(socket)
    }
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    async fn open(target: Target) -> io::Result<Stream> {
        Ok(match target {
            Target::Port(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Target::Socket(path) => Stream::Unix(UnixStream::connect(path).await?),
        })
    }

    async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.write_all(bytes).await,
            Stream::Unix(stream) => stream.write_all(bytes).await,
        }
    }

    async fn read_buf(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.read_buf(buffer).await,
            Stream::Unix(stream) => stream.read_buf(buffer).await,
        }
    }

    async fn readable(&self) -> io::Result<()> {
        match self {
            Stream::Tcp(stream) => stream.readable().await,
            Stream::Unix(stream) => stream.readable().await,
        }
    }

    fn try_read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(stream) => stream.try_read(buffer),
            Stream::Unix(stream) => stream.try_read(buffer),
        }
    }
}

/// A connection to a function.
pub(crate) struct Connection {
    stream: Stream,
    received: Vec<u8>,
    pub(crate) opened: Instant,
}

/// A good answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) seen: Seen,
    /// The server will close the connection.
    pub(crate) closes: bool,
}

impl Connection {
    pub(crate) async fn open(target: impl Into<Target>) -> io::Result<Connection> {
        let opened = Instant::now();
        Ok(Connection {
            stream: Stream::open(target.into()).await?,
            received: Vec::new(),
            opened,
        })
    }

    /// A connection from a loopback address of the caller's choice.
    pub(crate) async fn open_from(source: Ipv4Addr, port: u16) -> io::Result<Connection> {
        let opened = Instant::now();
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await?;
        stream.set_nodelay(true)?;
        Ok(Connection {
            stream: Stream::Tcp(stream),
            received: Vec::new(),
            opened,
        })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), String> {
        let sent = self.stream.write_all(bytes.as_ref()).await;
        sent.map_err(|error| format!("request could not be sent: {error}"))
    }

    /// Sends a request without a body and reads its answer.
    pub(crate) async fn get(&mut self, path: &str, tag: &str) -> Result<Answer, String> {
        self.send(get(path, tag)).await?;
        self.answer(tag).await
    }

    /// Reads the next answer, which must be the one to the request with a tag.
    pub(crate) async fn answer(&mut self, tag: &str) -> Result<Answer, String> {
        let (head, body) = tokio::time::timeout(PATIENCE, self.message())
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")))?;
        if !head.starts_with("http/1.1 200 ") {
            return Err(format!("answer is {head:?}"));
        }
        let seen: Seen = serde_json::from_slice(&body)
            .map_err(|error| format!("answer is not readable: {error}"))?;
        if seen.tag != tag {
            return Err(format!("answer to {:?} came for {tag:?}", seen.tag));
        }
        Ok(Answer {
            seen,
            closes: head.contains("\r\nconnection: close"),
        })
    }

    /// One response: its head in lower case, and its body.
    pub(crate) async fn message(&mut self) -> Result<(String, Vec<u8>), String> {
        let end = loop {
            let end = self
                .received
                .windows(4)
                .position(|four| four == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.receive().await?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse::<usize>().ok())
            .ok_or_else(|| format!("answer has no length: {head:?}"))?;
        while self.received.len() < end + length {
            self.receive().await?;
        }
        let body = self.received.drain(..end + length).skip(end).collect();
        Ok((head, body))
    }

    async fn receive(&mut self) -> Result<(), String> {
        match self.stream.read_buf(&mut self.received).await {
            Ok(0) => Err("connection was closed".into()),
            Ok(_) => Ok(()),
            Err(error) => Err(format!("answer could not be read: {error}")),
        }
    }

    /// Resolves when the server closes the idle connection.
    pub(crate) async fn closed(&self) {
        loop {
            let readable = self.stream.readable().await;
            match self.stream.try_read(&mut [0]) {
                Err(error) if readable.is_ok() && error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }
}

/// A request without a body.
pub(crate) fn get(path: &str, tag: &str) -> String {
    format!("GET {path}?{tag} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}
