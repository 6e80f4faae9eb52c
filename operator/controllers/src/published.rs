use std::collections::BTreeMap;

use futures::channel::mpsc;
use futures::{Stream, StreamExt, stream};
use parking_lot::Mutex;

/// The newest value of each key, in memory, and told to whoever follows. Values that are equal mean
/// the same to those: that one takes the place of the other is told to nobody.
pub(crate) struct Published<K, V> {
    known: Mutex<BTreeMap<K, V>>,
    listeners: Mutex<Vec<mpsc::UnboundedSender<K>>>,
}

impl<K, V> Default for Published<K, V> {
    fn default() -> Self {
        Published {
            known: Mutex::default(),
            listeners: Mutex::default(),
        }
    }
}

impl<K: Clone + Ord + Send + 'static, V: Clone + PartialEq> Published<K, V> {
    pub(crate) fn get(&self, key: &K) -> Option<V> {
        self.known.lock().get(key).cloned()
    }

    /// The keys with a value that is wanted.
    pub(crate) fn keys(&self, wanted: impl Fn(&V) -> bool) -> Vec<K> {
        let known = self.known.lock();
        let wanted = known.iter().filter(|(_, value)| wanted(value));
        wanted.map(|(key, _)| key.clone()).collect()
    }

    /// Each key known now, then each one whose value is another one than before.
    pub(crate) fn changes(&self) -> impl Stream<Item = K> + Send + Unpin + use<K, V> {
        let (sender, receiver) = mpsc::unbounded();
        // Before reading: a change in between is told twice rather than never.
        self.listeners.lock().push(sender);
        stream::iter(self.keys(|_| true)).chain(receiver)
    }

    /// Sets the value of a key, by the one that it has; `None` leaves that.
    pub(crate) fn change(&self, key: &K, change: impl FnOnce(Option<&V>) -> Option<V>) {
        let mut known = self.known.lock();
        let former = known.get(key);
        let Some(now) = change(former) else {
            return;
        };
        let is_new = former != Some(&now);
        known.insert(key.clone(), now);
        drop(known);
        if is_new {
            self.tell(key);
        }
    }

    /// There is nothing to be said of a key any more.
    pub(crate) fn forget(&self, key: &K) {
        let forgotten = self.known.lock().remove(key);
        if forgotten.is_some() {
            self.tell(key);
        }
    }

    fn tell(&self, key: &K) {
        self.listeners
            .lock()
            .retain(|listener| listener.unbounded_send(key.clone()).is_ok());
    }
}
