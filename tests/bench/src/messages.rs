//! Messages on a connection after `Upgrade`: lines with an id each. An answer is the id, and how many
//! messages there have been on this connection, a count that moves with it from worker to worker.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, header};
use outrigger_chassis::{HandOver, Leave, ResponseBody, Upgraded, switch_protocols};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::function::Noting;

/// The name of the protocol.
pub(crate) const PROTOCOL: &str = "bench";

/// The answer to the `count`th message of a connection.
pub(crate) fn answer(id: u64, count: u64) -> String {
    format!("{id} {count}\n")
}

/// Whether a request asks for the protocol.
pub(crate) fn are_asked_for<B>(request: &Request<B>) -> bool {
    let asked = request.headers().get(header::UPGRADE);
    asked == Some(&HeaderValue::from_static(PROTOCOL))
}

/// The answer to such a request.
pub(crate) fn switch() -> Response<ResponseBody> {
    switch_protocols(HeaderValue::from_static(PROTOCOL), "0")
}

/// Notes each message and answers it. What is no message ends the connection.
pub(crate) async fn answer_all(
    noting: &Noting,
    state: Bytes,
    mut connection: Upgraded,
) -> Option<HandOver> {
    let mut count: u64 = number(&state)?;
    let mut read = BytesMut::new();
    let mut leaving = pin!(connection.leaving());
    loop {
        while let Some(end) = read.iter().position(|byte| *byte == b'\n') {
            let line = read.split_to(end + 1);
            let id = number(&line[..end])?;
            noting.note(id).ok()?;
            count += 1;
            let answer = answer(id, count);
            connection.write_all(answer.as_bytes()).await.ok()?;
        }
        tokio::select! {
            biased;
            leave = &mut leaving => return match leave {
                Leave::HandOver => Some(connection.hand_over(count.to_string(), read)),
                Leave::Close => None,
            },
            received = connection.read_buf(&mut read) => {
                if received.ok()? == 0 {
                    return None;
                }
            }
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
