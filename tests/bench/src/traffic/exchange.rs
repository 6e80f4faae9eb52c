//! Requests and answers of HTTP/1.1 on one connection, byte by byte: how a head is cut and when
//! requests follow each other is what is tried.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::function::{Content, DELAY, ID};
use crate::record::Shape;

/// Longest wait for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// What a slow answer takes.
const SLOW: Duration = Duration::from_secs(3);
/// Between the two parts of a head.
pub(super) const SPLIT: Duration = Duration::from_millis(10);
/// An upload's chunks and the pause after each.
const CHUNKS: (usize, usize, Duration) = (16, 64 << 10, Duration::from_millis(16));

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection.
pub(super) struct Connection {
    pub(super) stream: Box<dyn Stream>,
    pub(super) unread: Vec<u8>,
    /// Messages that were answered since it was upgraded.
    pub(super) messages: u64,
    kept: bool,
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Failed {
    /// The connection ended, or nothing came.
    Connection(String),
    /// It is another answer.
    Answer(String),
}

impl Connection {
    pub(super) async fn open(target: &str, shape: Shape) -> io::Result<Connection> {
        let stream: Box<dyn Stream> = match target.starts_with('/') {
            true => Box::new(UnixStream::connect(target).await?),
            false => {
                let stream = TcpStream::connect(target).await?;
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        };
        let mut connection = Connection {
            stream,
            unread: Vec::new(),
            messages: 0,
            kept: true,
        };
        if shape == Shape::Upgraded {
            connection.upgrade().await?;
        }
        Ok(connection)
    }

    /// Whether the other side did not say that it closes.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// Waits until the other side closes, or sends what nobody asked for.
    pub(super) async fn closed(&mut self) {
        let mut byte = [0];
        // An end, an error and a byte all say that the connection is of no use.
        let _ = self.stream.read(&mut byte).await;
    }

    /// Writes requests, and tells how long that was drawn out on purpose.
    pub(super) async fn write(
        &mut self,
        shape: Shape,
        first: u64,
        count: u64,
    ) -> io::Result<Duration> {
        if shape == Shape::Upgraded {
            return self.write_messages(first, count).await;
        }
        let mut text = String::new();
        for id in first..first + count {
            let _ = write!(text, "POST / HTTP/1.1\r\nhost: bench\r\n{ID}: {id}\r\n");
            text.push_str(&match shape {
                Shape::SlowAnswer => {
                    format!("{DELAY}: {}\r\ncontent-length: 0\r\n\r\n", SLOW.as_millis())
                }
                Shape::Upload => "transfer-encoding: chunked\r\n\r\n".to_owned(),
                _ => "content-length: 0\r\n\r\n".to_owned(),
            });
        }
        match shape {
            Shape::SplitHead => {
                let (first, second) = text.as_bytes().split_at(text.len() / 2);
                self.stream.write_all(first).await?;
                tokio::time::sleep(SPLIT).await;
                self.stream.write_all(second).await?;
                Ok(SPLIT)
            }
            Shape::Upload => {
                self.stream.write_all(text.as_bytes()).await?;
                let (count, _, pause) = CHUNKS;
                for number in 0..count {
                    self.stream.write_all(&framed(number)).await?;
                    tokio::time::sleep(pause).await;
                }
                self.stream.write_all(b"0\r\n\r\n").await?;
                Ok(CHUNKS.2 * u32::try_from(count).unwrap_or_default())
            }
            Shape::SlowAnswer => {
                self.stream.write_all(text.as_bytes()).await?;
                Ok(SLOW)
            }
            Shape::KeepAlive
            | Shape::NewConnection
            | Shape::Mixed
            | Shape::Pipelined
            | Shape::Http2
            | Shape::Upgraded => {
                self.stream.write_all(text.as_bytes()).await?;
                Ok(Duration::ZERO)
            }
        }
    }

    /// Reads the answer to a request.
    pub(super) async fn read(&mut self, shape: Shape, id: u64) -> Result<(), Failed> {
        let answer = async {
            match shape {
                Shape::Upgraded => self.read_message(id).await,
                _ => {
                    let Answer { status, body } = self.answer().await?;
                    Ok(check(shape, id, status, &body))
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, answer).await;
        answer
            .map_err(|_| Failed::Connection(format!("no answer within {PATIENCE:?}")))?
            .map_err(|error| Failed::Connection(error.to_string()))?
            .map_err(Failed::Answer)
    }

    async fn answer(&mut self) -> io::Result<Answer> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let head = String::from_utf8_lossy(&self.until(b"\r\n\r\n").await?).to_ascii_lowercase();
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(':'));
            lines.find_map(|(found, value)| (found == name).then(|| value.trim()))
        };
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("no status in {head}")))?;
        let length = header("content-length").and_then(|text| text.parse::<usize>().ok());
        let length = length.ok_or_else(|| invalid(format!("no length in {head}")))?;
        self.kept = header("connection") != Some("close");
        while self.unread.len() < length {
            self.more().await?;
        }
        let body = self.unread.drain(..length).collect();
        Ok(Answer { status, body })
    }

    /// Reads what comes up to an end, which it has.
    pub(super) async fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            let found = self.unread.windows(end.len()).position(|some| some == end);
            match found {
                Some(at) => return Ok(self.unread.drain(..at + end.len()).collect()),
                None => self.more().await?,
            }
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed before the answer",
            )),
            _ => Ok(()),
        }
    }
}

struct Answer {
    status: u16,
    body: Vec<u8>,
}

/// A chunk of an upload; no two of one request are equal.
fn chunk(number: usize) -> Vec<u8> {
    let (_, size, _) = CHUNKS;
    vec![b'a' + u8::try_from(number % 26).unwrap_or_default(); size]
}

fn framed(number: usize) -> Vec<u8> {
    let chunk = chunk(number);
    let size = format!("{:x}\r\n", chunk.len());
    [size.as_bytes(), &chunk, b"\r\n"].concat()
}

/// Compares an answer with the right one, and tells what it was when it is another.
pub(super) fn check(shape: Shape, id: u64, status: u16, body: &[u8]) -> Result<(), String> {
    let expected = expected(shape, id);
    match status == 200 && body == expected.as_bytes() {
        true => Ok(()),
        false => {
            let body = String::from_utf8_lossy(body);
            let (body, expected) = (body.trim(), expected.trim());
            Err(format!("{status}: {body}, not {expected}"))
        }
    }
}

/// The body of the right answer.
pub(super) fn expected(shape: Shape, id: u64) -> String {
    static UPLOAD: std::sync::LazyLock<Content> = std::sync::LazyLock::new(|| {
        let mut content = Content::default();
        (0..CHUNKS.0).for_each(|number| content.add(&chunk(number)));
        content
    });
    match shape {
        Shape::Upload => UPLOAD.answer(id),
        _ => Content::default().answer(id),
    }
}
