use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// The last shape of each object, to tell changes that count from others.
pub(crate) struct Seen<K, S>(HashMap<K, S>);

impl<K, S> Default for Seen<K, S> {
    fn default() -> Self {
        Seen(HashMap::new())
    }
}

impl<K: Hash + Eq, S: PartialEq> Seen<K, S> {
    /// Whether an object has another shape than before, or was not seen before.
    pub(crate) fn is_new(&mut self, key: K, shape: S) -> bool {
        match self.0.entry(key) {
            Entry::Occupied(mut known) => {
                let is_new = *known.get() != shape;
                known.insert(shape);
                is_new
            }
            Entry::Vacant(unknown) => {
                unknown.insert(shape);
                true
            }
        }
    }

    /// Whether there was something to forget.
    pub(crate) fn forget(&mut self, key: &K) -> bool {
        self.0.remove(key).is_some()
    }
}
