use std::collections::BTreeMap;
use std::io;

use super::link::Sender;
use crate::server::Parked;

/// Most connections that are on their way at a time: their descriptors count twice.
const WINDOW: usize = 64;

/// Connections on their way to the other slot, until it says that it holds them.
#[derive(Debug, Default)]
pub(crate) struct Passing {
    sent: u64,
    unacknowledged: BTreeMap<u64, Parked>,
}

impl Passing {
    /// Whether another connection may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.unacknowledged.len() < WINDOW
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.unacknowledged.is_empty()
    }

    /// Sends a connection. It stays here whether that succeeds or not, even if the future is
    /// dropped.
    pub(crate) async fn send(&mut self, to: &Sender, parked: Parked) -> io::Result<()> {
        self.sent += 1;
        let id = self.sent;
        let parked = self.unacknowledged.entry(id).or_insert(parked);
        to.connection(id, parked).await
    }

    /// The other slot holds a connection: its part here, if it was on its way.
    pub(crate) fn held(&mut self, id: u64) -> Option<Parked> {
        self.unacknowledged.remove(&id)
    }

    /// What the other slot never acknowledged.
    pub(crate) fn into_unacknowledged(self) -> impl Iterator<Item = Parked> {
        self.unacknowledged.into_values()
    }
}
