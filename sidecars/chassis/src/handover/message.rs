use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use outrigger_control::Slot;
use serde::{Deserialize, Serialize};

use crate::State;
use crate::packet::invalid;
use crate::server::Passed;

/// Version of the protocol between slots. A slot refuses to follow one of another version.
pub(crate) const PROTOCOL: u32 = 1;

/// Bytes before a message's own.
pub(super) const HEADER: usize = 9;

/// What a standby says first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`PROTOCOL`] of the standby.
    pub(crate) protocol: u32,
    /// The standby's slot.
    pub(crate) slot: Slot,
    /// Version of its program, for logs.
    pub(crate) version: String,
    /// Whether it takes listeners of Unix sockets too.
    #[serde(default)]
    pub(crate) sockets: bool,
    /// Whether it takes states: those of upgraded connections, and those of functions.
    #[serde(default)]
    pub(crate) states: bool,
}

/// What an owner says with its listeners. A former release says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Welcome {
    /// Whether it takes states, as in [`Hello`].
    #[serde(default)]
    pub(crate) states: bool,
}

/// A standby's request to become active.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Term of the order that names the standby; absent when the owner asked it to take over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) term: Option<u64>,
    /// How many descriptors its process may have open.
    pub(crate) files: u64,
}

/// A message between two slots.
#[derive(Debug)]
pub(crate) enum Message {
    Hello(Hello),
    Listeners(Vec<OwnedFd>, Welcome),
    Take,
    Ready(Ready),
    Begin { witness: OwnedFd },
    Refused(String),
    Connection { id: u64, passed: Passed },
    State { name: String, state: State },
    Open,
    Held(u64),
    Commit { lock: OwnedFd },
}

/// First byte of each kind of message.
pub(super) mod kind {
    pub(crate) const HELLO: u8 = b'H';
    pub(crate) const LISTENERS: u8 = b'L';
    pub(crate) const TAKE: u8 = b'T';
    pub(crate) const READY: u8 = b'R';
    pub(crate) const BEGIN: u8 = b'B';
    pub(crate) const REFUSED: u8 = b'N';
    pub(crate) const CONNECTION: u8 = b'C';
    pub(crate) const UPGRADED: u8 = b'U';
    pub(crate) const STATE: u8 = b'F';
    pub(crate) const OPEN: u8 = b'O';
    pub(crate) const HELD: u8 = b'A';
    pub(crate) const COMMIT: u8 = b'S';
}

impl Message {
    pub(super) fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<Message> {
        let unknown = || invalid("a message of unknown form");
        let (header, data) = bytes.split_first_chunk::<HEADER>().ok_or_else(unknown)?;
        let [kind, id @ ..] = *header;
        let id = u64::from_le_bytes(id);
        let mut descriptors = descriptors.into_iter();
        let mut descriptor = || descriptors.next().ok_or_else(unknown);
        Ok(match kind {
            kind::HELLO => Message::Hello(serde_json::from_slice(data)?),
            kind::LISTENERS => {
                let welcome = match data {
                    [] => Welcome::default(),
                    data => serde_json::from_slice(data)?,
                };
                Message::Listeners(descriptors.collect(), welcome)
            }
            kind::TAKE => Message::Take,
            kind::READY => Message::Ready(serde_json::from_slice(data)?),
            kind::BEGIN => Message::Begin {
                witness: descriptor()?,
            },
            kind::REFUSED => Message::Refused(String::from_utf8_lossy(data).into_owned()),
            kind::CONNECTION => Message::Connection {
                id,
                passed: Passed {
                    stream: descriptor()?,
                    unread: Bytes::copy_from_slice(data),
                    upgraded: None,
                },
            },
            kind::UPGRADED => {
                let (length, data) = data.split_first_chunk().ok_or_else(unknown)?;
                let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| unknown())?;
                let (state, unread) = data.split_at_checked(length).ok_or_else(unknown)?;
                Message::Connection {
                    id,
                    passed: Passed {
                        stream: descriptor()?,
                        unread: Bytes::copy_from_slice(unread),
                        upgraded: Some(Bytes::copy_from_slice(state)),
                    },
                }
            }
            kind::STATE => Message::State {
                name: String::from_utf8(data.to_vec()).map_err(|_| unknown())?,
                state: State::received(descriptor()?)?,
            },
            kind::OPEN => Message::Open,
            kind::HELD => Message::Held(id),
            kind::COMMIT => Message::Commit {
                lock: descriptor()?,
            },
            _ => return Err(unknown()),
        })
    }
}
