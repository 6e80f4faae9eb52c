use std::collections::HashMap;

use parking_lot::Mutex;

/// What is kept of each sidecar from one look to the next, by its UID. A new leader does without.
pub(super) struct Memory<T>(Mutex<HashMap<String, T>>);

impl<T> Default for Memory<T> {
    fn default() -> Memory<T> {
        Memory(Mutex::default())
    }
}

impl<T: Clone + Default + PartialEq> Memory<T> {
    pub(super) fn recall(&self, sidecar: &str) -> T {
        self.0.lock().get(sidecar).cloned().unwrap_or_default()
    }

    /// In place of what was kept before.
    pub(super) fn remember(&self, sidecar: &str, known: T) {
        let mut all = self.0.lock();
        match known == T::default() {
            true => all.remove(sidecar),
            false => all.insert(sidecar.to_owned(), known),
        };
    }

    /// Forgets a sidecar that is gone.
    pub(super) fn forget(&self, sidecar: &str) {
        self.0.lock().remove(sidecar);
    }
}
