use std::fmt;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::Store;
use super::connection::{InvalidTarget, Target};
use super::pool::Connections;

/// The stores in use. Functions with the same database and credentials share one, and it stays as
/// it is, connections and all, when their configuration changes in other respects. It is closed
/// when its last function is gone.
#[derive(Clone, Default)]
pub(crate) struct Stores(Arc<Mutex<Vec<Weak<Store>>>>);

impl Stores {
    /// The store of a target.
    pub(crate) fn at(&self, target: Target) -> Result<Arc<Store>, InvalidTarget> {
        let mut stores = self.0.lock();
        stores.retain(|store| store.strong_count() > 0);
        let found = stores
            .iter()
            .filter_map(Weak::upgrade)
            .find(|store| *store.target() == target);
        if let Some(found) = found {
            return Ok(found);
        }
        let made = Arc::new(Store::new(target)?);
        stores.push(Arc::downgrade(&made));
        Ok(made)
    }

    /// Connections of all stores together.
    pub(crate) fn connections(&self) -> Connections {
        let stores = self.0.lock();
        stores
            .iter()
            .filter_map(Weak::upgrade)
            .map(|store| store.connections())
            .fold(Connections::default(), |sum, one| Connections {
                busy: sum.busy + one.busy,
                idle: sum.idle + one.idle,
                most: sum.most + one.most,
            })
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_tuple("Stores")
            .field(&self.connections())
            .finish()
    }
}
