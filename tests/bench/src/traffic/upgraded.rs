//! Messages on a connection after `Upgrade`.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::exchange::{Connection, PATIENCE, SPLIT};
use crate::messages::{PROTOCOL, answer};

impl Connection {
    /// Has the protocol switched.
    pub(super) async fn upgrade(&mut self) -> io::Result<()> {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: bench\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\n\r\n"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let head = timeout(PATIENCE, self.until(b"\r\n\r\n")).await??;
        match head.starts_with(b"HTTP/1.1 101 ") {
            true => Ok(()),
            false => {
                let head = String::from_utf8_lossy(&head).into_owned();
                Err(io::Error::other(format!("not upgraded: {head}")))
            }
        }
    }

    /// Writes messages, the first of which comes in two parts, so that none can be answered before the
    /// pause is over. Tells how long it was.
    pub(super) async fn write_messages(&mut self, first: u64, count: u64) -> io::Result<Duration> {
        let messages = (first..first + count).map(|id| format!("{id}\n"));
        let text = messages.collect::<String>();
        let (first, second) = text.split_at(1);
        self.stream.write_all(first.as_bytes()).await?;
        tokio::time::sleep(SPLIT).await;
        self.stream.write_all(second.as_bytes()).await?;
        Ok(SPLIT)
    }

    /// Reads the answer to the next message, and tells what is wrong with it: it is to another one,
    /// or messages were forgotten or read twice.
    pub(super) async fn read_message(&mut self, id: u64) -> io::Result<Result<(), String>> {
        let line = self.until(b"\n").await?;
        self.messages += 1;
        let expected = answer(id, self.messages);
        Ok(match line == expected.as_bytes() {
            true => Ok(()),
            false => {
                let (found, expected) = (String::from_utf8_lossy(&line), expected.trim());
                Err(format!("{}, not {expected}", found.trim()))
            }
        })
    }
}
