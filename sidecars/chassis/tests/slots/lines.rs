//! A protocol after `Upgrade`, as a chat would be: each line is answered with the slot, the count
//! of lines on this connection, and the line.

use std::net::Ipv4Addr;
use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use outrigger_chassis::{HandOver, Leave, ResponseBody, Upgraded, switch_protocols};
use outrigger_control::layout;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// The name of the protocol.
const PROTOCOL: &str = "lines";
/// What the server says when nobody goes on.
const GOODBYE: &str = "goodbye\n";
/// The state of a connection whose function does not let it go.
const STAYING: &str = "staying";

/// The answer to a request for the protocol. On the path `/stay` the connection never moves.
pub(crate) fn switch<B>(request: &Request<B>) -> Option<Response<ResponseBody>> {
    let asked = request.headers().get(header::UPGRADE) == Some(&HeaderValue::from_static(PROTOCOL));
    let state = match request.uri().path() {
        "/stay" => STAYING,
        _ => "0",
    };
    let unasked = request.uri().path() == "/unasked";
    (asked || unasked).then(|| switch_protocols(HeaderValue::from_static(PROTOCOL), state))
}

/// The server's side.
pub(crate) async fn speak(state: Bytes, mut connection: Upgraded) -> Option<HandOver> {
    let slot = std::env::var(layout::ENV_SLOT).unwrap();
    let stays = state == STAYING;
    let mut count: u64 = match stays {
        true => 0,
        false => std::str::from_utf8(&state).unwrap().parse().unwrap(),
    };
    let mut read = BytesMut::new();
    let mut leaving = pin!(connection.leaving());
    loop {
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line = read.split_to(end + 1);
            count += 1;
            let mut answer = format!("{slot} {count} ").into_bytes();
            answer.extend_from_slice(&line);
            connection.write_all(&answer).await.ok()?;
        }
        tokio::select! {
            biased;
            leave = &mut leaving, if !stays => match leave {
                Leave::HandOver => return Some(connection.hand_over(count.to_string(), read)),
                Leave::Close => {
                    connection.write_all(GOODBYE.as_bytes()).await.ok()?;
                    return None;
                }
            },
            received = connection.read_buf(&mut read) => {
                if received.ok()? == 0 {
                    return None;
                }
            }
        }
    }
}

/// The client's side.
pub(crate) struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    sent: u64,
}

impl Client {
    /// Opens a connection and sends the first line with the request, before it is answered.
    pub(crate) async fn open(port: u16, path: &str) -> Client {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = stream.into_split();
        let mut client = Client {
            reader: BufReader::new(reader),
            writer,
            sent: 0,
        };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: upgrade\r\nUpgrade: {PROTOCOL}\r\n\r\n"
        );
        client.writer.write_all(request.as_bytes()).await.unwrap();
        let line = client.next_line();
        client.writer.write_all(line.as_bytes()).await.unwrap();
        assert_eq!(client.line().await, "HTTP/1.1 101 Switching Protocols\r\n");
        while client.line().await != "\r\n" {}
        client.expect().await;
        client
    }

    fn next_line(&mut self) -> String {
        self.sent += 1;
        format!("message {}\n", self.sent)
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).await.unwrap();
        line
    }

    /// Reads the answer to the line that was sent last: the slot that gave it.
    async fn expect(&mut self) -> String {
        let line = self.line().await;
        let (slot, rest) = line.split_once(' ').unwrap_or_default();
        assert_eq!(rest, format!("{0} message {0}\n", self.sent), "{line:?}");
        slot.to_owned()
    }

    /// Sends a line in two pieces, with whatever `between` awaits between them, and reads its
    /// answer: the slot that gave it.
    pub(crate) async fn say(&mut self, between: impl Future<Output = ()>) -> String {
        let line = self.next_line();
        let (first, second) = line.split_at(line.len() / 2);
        self.writer.write_all(first.as_bytes()).await.unwrap();
        between.await;
        self.writer.write_all(second.as_bytes()).await.unwrap();
        self.expect().await
    }

    /// The server says goodbye and closes.
    pub(crate) async fn goodbye(&mut self) {
        assert_eq!(self.line().await, GOODBYE);
        assert_eq!(self.line().await, "");
    }
}
