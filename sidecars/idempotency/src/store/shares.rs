//! Applications that use one store, so that none keeps the others from its connections.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

/// The applications that use a store.
///
/// Whoever is not alone has turns for half of the connections. A turn is had before one waits for a
/// connection, in the order of arrival: so nobody waits behind more than so many requests of each
/// other application.
#[derive(Debug)]
pub(super) struct Shares {
    turns: usize,
    members: Mutex<HashMap<String, Weak<Semaphore>>>,
}

/// Makes an application one of a store's, as long as it lives.
#[derive(Debug)]
pub(crate) struct Member(Arc<Semaphore>);

impl Shares {
    /// For a number of connections.
    pub(super) fn of(connections: usize) -> Shares {
        Shares {
            turns: connections.div_ceil(2),
            members: Mutex::default(),
        }
    }

    /// Counts an application among those that use the store.
    pub(super) fn join(&self, application: &str) -> Member {
        let mut members = self.members.lock();
        members.retain(|_, member| member.strong_count() > 0);
        let known = members.get(application).and_then(Weak::upgrade);
        let turns = known.unwrap_or_else(|| Arc::new(Semaphore::new(self.turns)));
        members.insert(application.to_owned(), Arc::downgrade(&turns));
        Member(turns)
    }
}

impl Member {
    /// The turns of this application; `None` if it is alone at the store.
    pub(super) fn turns(&self, shares: &Shares) -> Option<Arc<Semaphore>> {
        let members = shares.members.lock();
        let mut members = members.values();
        let alone = !members.any(|other| {
            other.strong_count() > 0 && !std::ptr::eq(other.as_ptr(), Arc::as_ptr(&self.0))
        });
        (!alone).then(|| Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_has_turns_only_while_others_are_there() {
        let shares = Shares::of(5);
        let shop = shares.join("shop");
        let again = shares.join("shop");
        assert!(shop.turns(&shares).is_none());
        let bank = shares.join("bank");
        let turns = shop.turns(&shares).unwrap();
        assert_eq!(turns.available_permits(), 3);
        assert!(Arc::ptr_eq(&turns, &again.turns(&shares).unwrap()));
        assert!(!Arc::ptr_eq(&turns, &bank.turns(&shares).unwrap()));
        drop(bank);
        assert!(shop.turns(&shares).is_none());
    }

    #[test]
    fn a_single_connection_is_everybodys() {
        let shares = Shares::of(1);
        let members = [shares.join("shop"), shares.join("bank")];
        let turns = members.map(|member| member.turns(&shares).unwrap());
        assert!(turns.iter().all(|turns| turns.available_permits() == 1));
    }
}
