use std::collections::BTreeMap;

use futures::channel::mpsc;
use futures::{Stream, StreamExt, stream};
use outrigger_placement::{Avoided, Waiting};
use parking_lot::Mutex;

use super::ApplicationKey;

/// What holds for an application's pods now, and is written in no pod.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// Pods that wait.
    pub(crate) waiting: Vec<Waiting>,
    /// Nodes that are not chosen for a while.
    pub(crate) avoided: Vec<Avoided>,
    /// Pods that no node can run, and why.
    pub(crate) conflicts: Vec<(String, String)>,
}

/// The standing of each application with data, in memory, for whoever reports it. An application
/// that is absent was not looked at yet.
#[derive(Default)]
pub(crate) struct Standings {
    known: Mutex<BTreeMap<ApplicationKey, Standing>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<ApplicationKey>>>,
}

impl Standings {
    pub(crate) fn get(&self, key: &ApplicationKey) -> Option<Standing> {
        self.known.lock().get(key).cloned()
    }

    /// Each application known now, then each one whose standing is another one than before.
    pub(crate) fn changes(&self) -> impl Stream<Item = ApplicationKey> + Send + Unpin + use<> {
        let (sender, receiver) = mpsc::unbounded();
        // Before reading: a change in between is told twice rather than never.
        self.listeners.lock().push(sender);
        let known: Vec<ApplicationKey> = self.known.lock().keys().cloned().collect();
        stream::iter(known).chain(receiver)
    }

    /// Applications of which pods wait.
    pub(super) fn waiting(&self) -> Vec<ApplicationKey> {
        let known = self.known.lock();
        let waiting = known.iter().filter(|(_, found)| !found.waiting.is_empty());
        waiting.map(|(key, _)| key.clone()).collect()
    }

    /// Sets what holds now; `None` for an application that is gone, or has no data.
    pub(super) fn publish(&self, key: &ApplicationKey, standing: Option<Standing>) {
        let mut known = self.known.lock();
        let changed = known.get(key) != standing.as_ref();
        match standing {
            Some(standing) => known.insert(key.clone(), standing),
            None => known.remove(key),
        };
        drop(known);
        if changed {
            self.listeners
                .lock()
                .retain(|listener| listener.unbounded_send(key.clone()).is_ok());
        }
    }
}
