use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::own::Owning;
use super::{Next, Worker};
use crate::handover::{Hello, Link, Message, PROTOCOL};
use crate::listeners::Listeners;
use crate::ownership::OwnerLock;
use crate::roles;
use crate::supervisor::channel::ask_held;

/// How long the slot that should own the listeners is left alone with them.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two attempts to find the owner or its lock free. There is nothing to wait on: a lock
/// that is freed and a socket that appears are no events of one kind.
const RETRY: Duration = Duration::from_millis(2);
/// Pause after something that only others can change.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for the other slot's supervisor.
const ASK: Duration = Duration::from_millis(100);

/// Why a worker did not become an owner's standby.
pub(super) enum NotJoined {
    Gone,
    Refused(String),
    Stopped,
}

impl Worker {
    /// Finds the owner, or becomes it.
    ///
    /// When an owner dies, its standby and its own restarted worker both try. The lock lets one
    /// win; the other finds the winner's socket and is the standby.
    pub(super) async fn seek(&mut self, at_once: bool) -> Next {
        let patience = Instant::now() + PATIENCE;
        loop {
            if self.stop.is_told() {
                return Next::Drain { lock: None };
            }
            let mut pause = RETRY;
            if let Ok(link) = Link::connect(&self.state.owner_socket()) {
                match self.join(link, true).await {
                    Ok(link) => return Next::Stand(link),
                    Err(NotJoined::Stopped) => return Next::Drain { lock: None },
                    Err(NotJoined::Gone) => {}
                    Err(NotJoined::Refused(reason)) => {
                        self.status.trouble(reason);
                        pause = PAUSE;
                    }
                }
            }
            let (order, record) = self.review();
            let waited = at_once || patience <= Instant::now();
            if waited || roles::is_first_choice(order.as_ref(), record, self.settings.slot) {
                match self.claim().await {
                    Ok(Some(owning)) => return Next::Own(owning),
                    Ok(None) => {}
                    Err(reason) => {
                        self.status.trouble(reason);
                        pause = PAUSE;
                    }
                }
            }
            tokio::select! {
                () = self.stop.told() => {}
                () = sleep(pause) => {}
            }
        }
    }

    /// Becomes the standby of the owner at the other end.
    pub(super) async fn join(
        &mut self,
        mut link: Link,
        heed_stop: bool,
    ) -> Result<Link, NotJoined> {
        let hello = Hello {
            protocol: PROTOCOL,
            slot: self.settings.slot,
            version: self.settings.version.clone(),
            sockets: true,
            states: true,
        };
        if link.sender().hello(&hello).await.is_err() {
            return Err(NotJoined::Gone);
        }
        let answer = tokio::select! {
            answer = link.receive() => answer,
            () = self.stop.told(), if heed_stop => return Err(NotJoined::Stopped),
        };
        let descriptors = match answer {
            Some(Message::Listeners(descriptors, welcome)) => {
                link.sender().learn(welcome.states);
                descriptors
            }
            Some(Message::Refused(reason)) => return Err(NotJoined::Refused(reason)),
            Some(other) => {
                return Err(NotJoined::Refused(format!(
                    "the owner answered a hello with {other:?}"
                )));
            }
            None => return Err(NotJoined::Gone),
        };
        match Listeners::received(descriptors, &self.settings.listen) {
            Ok(listeners) => {
                self.keep_listeners(listeners);
                Ok(link)
            }
            Err(error) => Err(NotJoined::Refused(error.to_string())),
        }
    }

    /// Takes the owner lock and the listeners, if nobody has the lock.
    async fn claim(&mut self) -> Result<Option<Owning>, String> {
        let lock = match self.state.try_own() {
            Ok(Some(lock)) => lock,
            Ok(None) => return Ok(None),
            Err(error) => return Err(format!("the owner lock could not be taken: {error}")),
        };
        self.ensure_listeners().await?;
        Ok(Some(self.claimed(lock)))
    }

    /// What a worker owns with a lock that no former owner gave it.
    pub(super) fn claimed(&mut self, lock: OwnerLock) -> Owning {
        let (order, record) = self.review();
        if record.is_some_and(|record| record.active != self.settings.slot) {
            self.status.took_over();
        }
        Owning {
            lock,
            record: roles::claimed(order.as_ref(), record, self.settings.slot),
            former: None,
        }
    }

    async fn ensure_listeners(&mut self) -> Result<(), String> {
        if self.listeners.is_some() {
            return Ok(());
        }
        let other = self.state.listeners_socket(self.settings.slot.peer());
        // Whatever keeps the other supervisor from giving any, there are none to be had from it.
        let held = timeout(ASK, ask_held(&other)).await;
        let held = held.ok().and_then(Result::ok).unwrap_or_default();
        let listeners = if held.is_empty() {
            Listeners::bind(&self.settings.listen)
        } else {
            Listeners::received(held, &self.settings.listen)
        };
        self.keep_listeners(listeners.map_err(|error| error.to_string())?);
        Ok(())
    }
}
