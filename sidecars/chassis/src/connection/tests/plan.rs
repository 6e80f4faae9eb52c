//! Random traffic: what a client sends and how, and when the connection moves.

use proptest::collection::vec;
use proptest::prelude::*;

/// One request of a stream.
#[derive(Clone, Debug)]
pub(super) enum Exchange {
    Get(&'static str),
    Post {
        /// The function answers before it has read the body.
        early: bool,
        body: Framing,
    },
}

#[derive(Clone, Debug)]
pub(super) enum Framing {
    Length(usize),
    Chunks(Vec<usize>),
}

/// A pause of a task.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pause {
    None,
    Yields(u8),
    Millis(u8),
}

/// When one life of the connection is told to drain; the lives repeat in turn.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) drained_after: Pause,
    /// The signal is withdrawn after the first pause and given again after the second.
    pub(super) withdrawn: Option<(Pause, Pause)>,
}

#[derive(Clone, Debug)]
pub(super) struct Traffic {
    pub(super) exchanges: Vec<Exchange>,
    /// Room in the pipe between client and server, bytes.
    pub(super) pipe: usize,
    /// Lengths of the client's writes, and its pauses after them, in turn.
    pub(super) writes: Vec<(usize, Pause)>,
    /// Pauses of the client before its reads, in turn.
    pub(super) reads: Vec<Pause>,
    pub(super) lives: Vec<Life>,
}

impl Traffic {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, exchange) in self.exchanges.iter().enumerate() {
            match exchange {
                Exchange::Get(kind) => {
                    bytes.extend(
                        format!("GET /{kind}/{number} HTTP/1.1\r\nhost: x\r\n\r\n").bytes(),
                    );
                }
                Exchange::Post { early, body } => {
                    let kind = if *early { "early" } else { "upload" };
                    bytes.extend(format!("POST /{kind}/{number} HTTP/1.1\r\nhost: x\r\n").bytes());
                    body.write(&mut bytes);
                }
            }
        }
        bytes
    }
}

impl Framing {
    fn write(&self, bytes: &mut Vec<u8>) {
        match self {
            Framing::Length(length) => {
                bytes.extend(format!("content-length: {length}\r\n\r\n").bytes());
                bytes.extend(content(*length));
            }
            Framing::Chunks(chunks) => {
                bytes.extend(b"transfer-encoding: chunked\r\n\r\n");
                for length in chunks {
                    bytes.extend(format!("{length:x}\r\n").bytes());
                    bytes.extend(content(*length));
                    bytes.extend(b"\r\n");
                }
                bytes.extend(b"0\r\n\r\n");
            }
        }
    }
}

/// Bytes of which every part of a request's head is one, in turn with others.
fn content(length: usize) -> impl Iterator<Item = u8> {
    let pattern = b"GET /upload HTTP/1.1\r\n\r\n\0\xff5\r\n";
    pattern.iter().copied().cycle().take(length)
}

pub(super) fn traffic() -> impl Strategy<Value = Traffic> {
    let writes = (prop_oneof![Just(3_usize), Just(40), Just(2_000), Just(60_000)])
        .prop_flat_map(|longest| vec((1..=longest, pause()), 1..8));
    (
        vec(exchange(), 1..12),
        prop_oneof![
            Just(16_usize),
            Just(64),
            Just(700),
            Just(8_192),
            Just(1 << 20)
        ],
        writes,
        vec(pause(), 1..4),
        vec(life(), 1..8),
    )
        .prop_map(|(exchanges, pipe, writes, reads, lives)| {
            let early =
                |exchange: &Exchange| matches!(exchange, Exchange::Post { early: true, .. });
            Traffic {
                // hyper stalls, without any handover, if an answer that was sent before its
                // request's body had arrived blocks in a flush while the next head is read.
                pipe: if exchanges.iter().any(early) {
                    1 << 20
                } else {
                    pipe
                },
                exchanges,
                writes,
                reads,
                lives,
            }
        })
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let length = (any::<bool>(), 1..20_000_usize).prop_map(|(early, length)| Exchange::Post {
        early,
        body: Framing::Length(length),
    });
    let chunks =
        (any::<bool>(), vec(1..3_000_usize, 0..5)).prop_map(|(early, chunks)| Exchange::Post {
            early,
            body: Framing::Chunks(chunks),
        });
    prop_oneof![
        3 => prop_oneof![Just("short"), Just("large"), Just("late"), Just("streamed")]
            .prop_map(Exchange::Get),
        1 => Just(Exchange::Get("short")),
        2 => length,
        2 => chunks,
    ]
}

fn pause() -> impl Strategy<Value = Pause> {
    prop_oneof![
        3 => Just(Pause::None),
        1 => (1..6_u8).prop_map(Pause::Yields),
        1 => (1..6_u8).prop_map(Pause::Millis),
    ]
}

fn life() -> impl Strategy<Value = Life> {
    (pause(), prop::option::weighted(0.2, (pause(), pause()))).prop_map(
        |(drained_after, withdrawn)| Life {
            drained_after,
            withdrawn,
        },
    )
}
