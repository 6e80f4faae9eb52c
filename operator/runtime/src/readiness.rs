use std::sync::Arc;

use parking_lot::Mutex;

/// What has to be true before the replica is ready. Clones are one.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    conditions: Arc<Mutex<Vec<(&'static str, bool)>>>,
}

/// One condition of [`Readiness`].
#[derive(Clone, Debug)]
pub struct ReadyHandle {
    readiness: Readiness,
    index: usize,
}

impl Readiness {
    /// Adds a condition that does not hold yet.
    pub fn condition(&self, name: &'static str) -> ReadyHandle {
        let mut conditions = self.conditions.lock();
        conditions.push((name, false));
        ReadyHandle {
            readiness: self.clone(),
            index: conditions.len() - 1,
        }
    }

    /// The names of the conditions that do not hold.
    pub fn missing(&self) -> Vec<&'static str> {
        let conditions = self.conditions.lock();
        conditions
            .iter()
            .filter(|(_, holds)| !holds)
            .map(|(name, _)| *name)
            .collect()
    }
}

impl ReadyHandle {
    /// Says whether the condition holds now.
    pub fn set(&self, holds: bool) {
        if let Some(condition) = self.readiness.conditions.lock().get_mut(self.index) {
            condition.1 = holds;
        }
    }
}
