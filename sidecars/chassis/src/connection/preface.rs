//! Which protocol a client speaks: HTTP/2 with prior knowledge begins with its connection preface
//! (RFC 9113, section 3.4), everything else is HTTP/1.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::time::sleep;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A preface that has begun must be complete within this time.
const PREFACE_TIMEOUT: Duration = Duration::from_secs(30);

/// What the first bytes of a connection say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1, beginning with these bytes.
    Http1(Bytes),
    /// HTTP/2, beginning with these bytes.
    Http2(Bytes),
    /// Not known yet: the connection drains. The bytes belong to whoever serves it next.
    Undecided(Bytes),
    /// None: the client is gone, or too slow.
    Gone,
}

/// Reads as much as is needed to tell the protocols apart, after what is `unread` already.
pub(crate) async fn detect(
    stream: &mut (impl AsyncRead + Unpin),
    unread: Bytes,
    drain: &mut watch::Receiver<bool>,
) -> Protocol {
    let mut read = BytesMut::from(unread);
    loop {
        if read.starts_with(PREFACE) {
            return Protocol::Http2(read.freeze());
        }
        if !PREFACE.starts_with(&read) {
            return Protocol::Http1(read.freeze());
        }
        let mut piece = [0; PREFACE.len()];
        let missing = PREFACE.len() - read.len();
        tokio::select! {
            biased;
            // Without a sender nothing is served any more.
            _ = drain.wait_for(|draining| *draining) => return Protocol::Undecided(read.freeze()),
            received = stream.read(&mut piece[..missing]) => match received {
                Ok(0) if read.is_empty() => return Protocol::Gone,
                Ok(0) => return Protocol::Http1(read.freeze()),
                Ok(length) => read.extend_from_slice(&piece[..length]),
                Err(_) => return Protocol::Gone,
            },
            () = sleep(PREFACE_TIMEOUT), if !read.is_empty() => return Protocol::Gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn told(pieces: &[&[u8]]) -> Protocol {
        let (mut client, mut server) = tokio::io::duplex(64);
        let (_sender, mut drain) = watch::channel(false);
        let client = async {
            for piece in pieces {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client
        };
        let (protocol, _client) =
            tokio::join!(detect(&mut server, Bytes::new(), &mut drain), client);
        protocol
    }

    #[tokio::test]
    async fn the_preface_is_known_in_any_pieces_and_nothing_else_is_taken_for_it() {
        let whole = Protocol::Http2(Bytes::from_static(PREFACE));
        for cut in 1..PREFACE.len() {
            let (first, second) = PREFACE.split_at(cut);
            assert_eq!(told(&[first, second]).await, whole);
        }
        for other in ["POST / HTTP/1.1", "PRI / HTTP/1.1\r\n", "G"] {
            let Protocol::Http1(read) = told(&[other.as_bytes()]).await else {
                panic!("{other} is HTTP/1");
            };
            assert!(other.as_bytes().starts_with(&read));
        }
    }

    #[tokio::test]
    async fn a_connection_that_drains_keeps_what_was_read() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PR").await.unwrap();
        let (sender, mut drain) = watch::channel(false);
        let undecided = {
            let mut detection =
                std::pin::pin!(detect(&mut server, Bytes::from_static(b""), &mut drain));
            assert!(futures::poll!(detection.as_mut()).is_pending());
            sender.send_replace(true);
            detection.await
        };
        assert_eq!(undecided, Protocol::Undecided(Bytes::from_static(b"PR")));
        sender.send_replace(false);
        client.write_all(b"OPFIND /").await.unwrap();
        let decided = detect(&mut server, Bytes::from_static(b"PR"), &mut drain).await;
        assert!(matches!(decided, Protocol::Http1(read) if read.starts_with(b"PRO")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stops_amid_the_preface_is_given_up() {
        let (mut client, mut server) = tokio::io::duplex(64);
        client.write_all(b"PRI").await.unwrap();
        let (_sender, mut drain) = watch::channel(false);
        let protocol = detect(&mut server, Bytes::new(), &mut drain).await;
        assert_eq!(protocol, Protocol::Gone);
    }
}
