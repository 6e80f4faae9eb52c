//! GOAWAY at the worst moment: of three streams that a server has acted upon and not answered, and
//! of others that are on their way to it.

use std::collections::BTreeSet;
use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::run_against;
use super::streams::{plan, serve_hyper};
use crate::ledger::Verdict;

/// The last stream that the server is let see, of 1, 3, 5 and so on.
const LAST: u32 = 5;
/// So many it answers.
const ANSWERED: usize = 3;
/// Streams above it that are on their way when GOAWAY comes.
const ABOVE: usize = 3;

const PREFACE: usize = 24;
const GOAWAY: u8 = 7;

/// A frame of HTTP/2, as it is on the wire.
struct Frame(Vec<u8>);

impl Frame {
    async fn read(from: &mut OwnedReadHalf) -> io::Result<Frame> {
        let mut frame = vec![0; 9];
        from.read_exact(&mut frame).await?;
        let length = u32::from_be_bytes([0, frame[0], frame[1], frame[2]]);
        frame.resize(9 + length as usize, 0);
        from.read_exact(&mut frame[9..]).await?;
        Ok(Frame(frame))
    }

    /// GOAWAY without an error.
    fn go_away(last: u32) -> Frame {
        let mut frame = vec![0, 0, 8, GOAWAY, 0, 0, 0, 0, 0];
        frame.extend_from_slice(&last.to_be_bytes());
        frame.extend_from_slice(&0_u32.to_be_bytes());
        Frame(frame)
    }

    fn stream(&self) -> u32 {
        u32::from_be_bytes([self.0[5], self.0[6], self.0[7], self.0[8]])
    }

    fn ends_stream(&self) -> bool {
        self.0[4] & 1 == 1 && self.stream() > 0
    }
}

/// Stands before a server. The first connection gets GOAWAY, and is closed when the server has
/// answered the streams that it saw, without the answers; the others are passed on.
async fn stand_before(server: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let (client, _) = listener.accept().await.unwrap();
        let behind = TcpStream::connect(&server).await.unwrap();
        tokio::spawn(let_go(client, behind));
        while let Ok((mut client, _)) = listener.accept().await {
            let mut behind = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                let _ = tokio::io::copy_bidirectional(&mut client, &mut behind).await;
            });
        }
    });
    target
}

async fn let_go(client: TcpStream, server: TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (from_server, mut to_server) = server.into_split();
    let mut preface = [0; PREFACE];
    from_client.read_exact(&mut preface).await.unwrap();
    to_server.write_all(&preface).await.unwrap();
    let (frames, mut next) = mpsc::channel(64);
    tokio::spawn(read_all(from_client, Side::Client, frames.clone()));
    tokio::spawn(read_all(from_server, Side::Server, frames));
    let (mut above, mut answered) = (BTreeSet::new(), 0);
    while above.len() < ABOVE || answered < ANSWERED {
        let (from, frame) = next.recv().await.unwrap();
        let stream = frame.stream();
        match from {
            Side::Client if stream > LAST => {
                if above.insert(stream) && above.len() == ABOVE {
                    to_client.write_all(&Frame::go_away(LAST).0).await.unwrap();
                }
            }
            Side::Client => to_server.write_all(&frame.0).await.unwrap(),
            Side::Server if stream > 0 => answered += usize::from(frame.ends_stream()),
            Side::Server => to_client.write_all(&frame.0).await.unwrap(),
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Server,
}

async fn read_all(mut from: OwnedReadHalf, side: Side, frames: mpsc::Sender<(Side, Frame)>) {
    while let Ok(frame) = Frame::read(&mut from).await {
        if frames.send((side, frame)).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn streams_above_the_last_are_sent_again_and_those_below_fail() {
    let (server, ledger) = serve_hyper(u64::MAX).await;
    let target = stand_before(server).await;
    let (outcome, verdict) = run_against(plan(target), &ledger, 200).await;
    assert_eq!(outcome.failures.len(), ANSWERED, "{outcome:?}");
    // They were acted upon, each once: had they been sent again it would be twice.
    let expected = Verdict {
        unknown: ANSWERED as u64,
        ..Verdict::default()
    };
    assert_eq!(verdict, expected);
    // Of eight streams at a time.
    let resent = ABOVE as u64..=8 - ANSWERED as u64;
    assert!(resent.contains(&outcome.resent), "{outcome:?}");
    assert_eq!(outcome.closed, 1);
}
