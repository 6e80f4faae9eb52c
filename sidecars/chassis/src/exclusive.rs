//! What only one worker may have at a time.

mod gate;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::timeout;

use crate::tenancy::{self, Hosted};
use crate::{BoxError, Exclusive, State};
pub(crate) use gate::{Waiting, gated};

/// Longest time of a function to open or to close what is its own.
pub(crate) const STEP: Duration = Duration::from_secs(5);
/// Longest time for requests in progress to end before a function closes.
pub(crate) const QUIET: Duration = Duration::from_secs(5);

/// What is open in this worker.
pub(crate) struct Exclusives {
    functions: Arc<ArcSwap<Hosted>>,
    waiting: Waiting,
    open: BTreeMap<String, Arc<dyn Exclusive>>,
    /// What those that were closed last remember, for whoever opens them next.
    states: BTreeMap<String, State>,
}

impl Exclusives {
    /// Of the functions in use, for which requests may be waiting.
    pub(crate) fn new(functions: Arc<ArcSwap<Hosted>>, waiting: Waiting) -> Exclusives {
        Exclusives {
            functions,
            waiting,
            open: BTreeMap::new(),
            states: BTreeMap::new(),
        }
    }

    /// Those of the functions in use.
    fn in_use(&self) -> BTreeMap<String, Arc<dyn Exclusive>> {
        let functions = self.functions.load();
        let all = functions.all().iter();
        all.filter_map(|(name, function)| Some((name.clone(), Arc::clone(function).exclusive()?)))
            .collect()
    }

    /// Whether the functions in use are open, and no others.
    pub(crate) fn are_in_use(&self) -> bool {
        let in_use = self.in_use();
        in_use.len() == self.open.len()
            && in_use
                .iter()
                .all(|(name, exclusive)| self.is_open(name, exclusive))
    }

    fn is_open(&self, name: &str, exclusive: &Arc<dyn Exclusive>) -> bool {
        let open = self.open.get(name);
        open.is_some_and(|open| Arc::ptr_eq(open, exclusive))
    }

    /// Whether there is nothing to hand over.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.states.is_empty()
    }

    /// The ports behind which something is open.
    pub(crate) fn open_ports(&self) -> BTreeSet<&str> {
        let names = self.open.keys();
        names.map(|name| tenancy::port_of(name)).collect()
    }

    /// Has the requests answered that wait for functions to be opened.
    pub(crate) fn dismiss_waiting(&self) {
        self.waiting.dismiss();
    }

    /// The names of those that are open and not in use any more.
    fn unused(&self) -> Vec<String> {
        let in_use = self.in_use();
        let is_unused = |(name, open): &(&String, &Arc<dyn Exclusive>)| {
            let used = in_use.get(*name);
            used.is_none_or(|used| !Arc::ptr_eq(used, open))
        };
        let unused = self.open.iter().filter(is_unused);
        unused.map(|(name, _)| name.clone()).collect()
    }

    /// Whether some are open and not in use any more.
    pub(crate) fn has_unused(&self) -> bool {
        !self.unused().is_empty()
    }

    /// Closes those that are not in use any more.
    pub(crate) async fn close_unused(&mut self) -> Result<(), String> {
        for name in self.unused() {
            self.close_one(&name).await?;
        }
        Ok(())
    }

    /// Opens those of the functions in use, after others were closed. What one remembered is given
    /// to the one of the same name.
    pub(crate) async fn renew(&mut self) -> Result<(), String> {
        self.close_unused().await?;
        for (name, exclusive) in self.in_use() {
            if self.is_open(&name, &exclusive) {
                continue;
            }
            let not_open = |reason: BoxError| format!("function {name} cannot be opened: {reason}");
            let state = self.states.get(&name).map(State::duplicate).transpose();
            let state = state.map_err(|error| not_open(error.into()))?;
            // Before it is: whoever is interrupted has to close it.
            self.open.insert(name.clone(), Arc::clone(&exclusive));
            let opened = timeout(STEP, exclusive.open(state)).await;
            let opened = opened.unwrap_or_else(|_| Err("it took too long".into()));
            if let Err(reason) = opened {
                self.open.remove(&name);
                return Err(not_open(reason));
            }
        }
        self.states.clear();
        Ok(())
    }

    /// Closes all that are open. If one cannot be closed, those that were closed before stay so,
    /// for [`Exclusives::renew`] to open them again.
    pub(crate) async fn close(&mut self) -> Result<(), String> {
        let names: Vec<_> = self.open.keys().cloned().collect();
        for name in names {
            self.close_one(&name).await?;
        }
        Ok(())
    }

    async fn close_one(&mut self, name: &str) -> Result<(), String> {
        let Some(exclusive) = self.open.get(name) else {
            return Ok(());
        };
        let not_closed = |reason: BoxError| format!("function {name} cannot be closed: {reason}");
        let state = Arc::clone(exclusive).close().await.map_err(not_closed)?;
        self.open.remove(name);
        match state {
            Some(state) => {
                state.seal().map_err(|error| not_closed(error.into()))?;
                self.states.insert(name.to_owned(), state);
            }
            // What it remembered before it was opened is no longer so.
            None => drop(self.states.remove(name)),
        }
        Ok(())
    }

    /// What those that were closed remember.
    pub(crate) fn states(&self) -> &BTreeMap<String, State> {
        &self.states
    }

    /// Takes what a function of another worker remembers.
    pub(crate) fn remember(&mut self, name: String, state: State) {
        self.states.insert(name, state);
    }

    /// Another worker has the states, or goes on with its own.
    pub(crate) fn forget(&mut self) {
        self.states.clear();
    }

    /// Closes all that are open, for good.
    pub(crate) async fn give_up(&mut self) {
        if let Err(reason) = self.close().await {
            tracing::error!(reason, "Function may still have what another worker needs");
            self.open.clear();
        }
        self.forget();
    }
}
