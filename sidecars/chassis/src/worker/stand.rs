use std::sync::Arc;
use std::time::Duration;

use outrigger_control::Role;
use tokio::time::Instant;

use super::own::Owning;
use super::{Next, Worker, until};
use crate::handover::{self, Link, Message, OwnerId, Passing, Ready, Taken, Took};
use crate::{roles, warmth};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// What has failed for long is not cured by trying, and each attempt stops the owner for a moment.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Paces the attempts to obey one order at the side of one owner.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    owner: Option<OwnerId>,
    term: u64,
    failures: u32,
    not_before: Option<Instant>,
}

impl Attempts {
    /// Takes note of the owner. Another one may do what the former did not.
    fn meet(&mut self, owner: Option<OwnerId>) {
        if self.owner != owner {
            *self = Attempts {
                owner,
                ..Attempts::default()
            };
        }
    }

    /// When the next attempt to obey the order with a term may begin, if not now.
    fn wait(&mut self, term: u64) -> Option<Instant> {
        if self.term != term {
            *self = Attempts {
                owner: self.owner,
                term,
                ..Attempts::default()
            };
        }
        self.not_before.filter(|begin| Instant::now() < *begin)
    }

    fn failed(&mut self) {
        let pause = FIRST_PAUSE
            .saturating_mul(1 << self.failures.min(16))
            .min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
    }
}

/// What a standby waits for.
enum Event {
    Message(Option<Message>),
    Look,
    LinkBroken,
}

impl Worker {
    /// Waits at the owner's side, passing it the connections that this worker still has, until an
    /// order or the owner's end makes it active.
    pub(super) async fn stand(&mut self, mut link: Link) -> Next {
        self.server.park(link.sender().leave()).await;
        // Opened for an owner that died, whom another one succeeded.
        self.exclusives.give_up().await;
        self.status.role(Role::Standby);
        self.attempts.meet(OwnerId::at(&self.state.owner_socket()));
        let traffic = Arc::clone(self.server.traffic());
        let mut passing = Passing::default();
        loop {
            let leaving = self.stop.is_told();
            if leaving && traffic.connections() == 0 {
                return Next::End;
            }
            let mut retry = None;
            if !leaving && let Some(term) = self.called() {
                retry = self.attempts.wait(term);
                if retry.is_none() {
                    match self.obey(link, passing, term).await {
                        Obeyed::Next(next) => return next,
                        Obeyed::Later(same_link, same_passing) => {
                            (link, passing) = (same_link, same_passing);
                            continue;
                        }
                    }
                }
            }
            let event = tokio::select! {
                message = link.receive() => Event::Message(message),
                parked = self.server.parked(), if passing.has_room() => {
                    match passing.send(link.sender(), parked).await {
                        Ok(()) => Event::Look,
                        Err(_) => Event::LinkBroken,
                    }
                }
                _ = self.direction.changed() => Event::Look,
                _ = self.warm.changed() => Event::Look,
                () = self.stop.told(), if !leaving => Event::Look,
                () = traffic.no_connections(), if leaving => Event::Look,
                () = until(retry) => Event::Look,
            };
            match event {
                Event::Look => {}
                Event::Message(Some(Message::Held(id))) => drop(passing.held(id)),
                Event::Message(Some(Message::Take)) if !leaving => {
                    match self.rescue(link, passing).await {
                        Obeyed::Next(next) => return next,
                        Obeyed::Later(same_link, same_passing) => {
                            (link, passing) = (same_link, same_passing);
                        }
                    }
                }
                Event::Message(Some(other)) => {
                    tracing::error!(message = ?other, "Owner broke the protocol");
                    return self.lost(link, passing).await;
                }
                Event::Message(None) | Event::LinkBroken => return self.lost(link, passing).await,
            }
        }
    }

    /// The term of the order that this standby is to obey now.
    fn called(&mut self) -> Option<u64> {
        let (order, record) = self.review();
        let configuration = self.direction.borrow().configuration.clone();
        let slot = self.settings.slot;
        let order = roles::calls(order.as_ref(), record, slot, configuration.as_deref())?;
        self.warm.borrow_and_update().is_ok().then_some(order.term)
    }

    /// Becomes active because an order says so, if the functions are warm at this moment.
    async fn obey(&mut self, mut link: Link, passing: Passing, term: u64) -> Obeyed {
        let functions = self.functions.load_full();
        let tested = tokio::select! {
            tested = warmth::test(&functions) => tested,
            () = self.stop.told() => return Obeyed::Later(link, passing),
            () = link.ended() => return Obeyed::Next(self.lost(link, passing).await),
        };
        if let Err(reason) = tested {
            // Nothing was attempted: what keeps a store away is no fault of this image.
            self.doubt.tell(reason);
            return Obeyed::Later(link, passing);
        }
        self.take(link, passing, Some(term)).await
    }

    /// Becomes active because the owner has to leave. Cold functions are better than none.
    async fn rescue(&mut self, link: Link, passing: Passing) -> Obeyed {
        self.take(link, passing, None).await
    }

    async fn take(&mut self, mut link: Link, mut passing: Passing, term: Option<u64>) -> Obeyed {
        let ready = Ready {
            term,
            files: self.files,
        };
        let intake = self.server.intake();
        let taken = tokio::select! {
            taken = handover::take(
                &mut link,
                &mut passing,
                &intake,
                &mut self.exclusives,
                &self.state,
                &ready,
            ) => taken,
            () = self.stop.told() => Taken::Lost("this slot is told to stop".to_owned()),
        };
        match taken {
            Taken::Took(Took {
                lock,
                connections,
                commit,
            }) => {
                let (_, record) = self.review();
                self.status.handed_over(connections.len(), commit);
                for parked in connections {
                    intake.keep(parked);
                }
                for parked in passing.into_unacknowledged() {
                    intake.keep(parked);
                }
                Obeyed::Next(Next::Own(Owning {
                    lock,
                    record: roles::granted(&ready, record, self.settings.slot),
                    former: Some(link),
                }))
            }
            Taken::Refused(reason) => {
                self.attempts.failed();
                self.status.not_handed_over(reason);
                Obeyed::Later(link, passing)
            }
            Taken::Lost(reason) => {
                self.attempts.failed();
                self.status.not_handed_over(reason);
                Obeyed::Next(self.lost(link, passing).await)
            }
        }
    }

    /// The owner is gone, or does not want this standby any more.
    async fn lost(&mut self, mut link: Link, mut passing: Passing) -> Next {
        link.close();
        // What was acknowledged before is not ours.
        while let Some(message) = link.receive().await {
            if let Message::Held(id) = message {
                drop(passing.held(id));
            }
        }
        let intake = self.server.intake();
        for parked in passing.into_unacknowledged() {
            intake.keep(parked);
        }
        let warm = self.warm.borrow().is_ok();
        Next::Seek { at_once: warm }
    }
}

/// What became of an attempt to become active.
enum Obeyed {
    Next(Next),
    /// The standby stays what it is.
    Later(Link, Passing),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses after failures in a row, in seconds.
    fn pauses(attempts: &mut Attempts, term: u64, failures: usize) -> Vec<f32> {
        let mut pauses = Vec::new();
        for _ in 0..failures {
            attempts.failed();
            let pause = attempts.wait(term).map(|end| end - Instant::now());
            pauses.push(pause.unwrap_or_default().as_secs_f32());
        }
        pauses
    }

    #[tokio::test(start_paused = true)]
    async fn a_handover_that_fails_is_tried_ever_more_seldom() {
        let mut attempts = Attempts::default();
        assert_eq!(attempts.wait(2), None);
        assert_eq!(
            pauses(&mut attempts, 2, 13),
            [
                0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0
            ]
        );
        tokio::time::advance(LONGEST_PAUSE).await;
        assert_eq!(attempts.wait(2), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_order_and_a_new_owner_are_tried_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let owner = |name: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, "").unwrap();
            OwnerId::at(&path)
        };
        let (first, second) = (owner("first"), owner("second"));
        let mut attempts = Attempts::default();
        attempts.meet(first);
        assert_eq!(attempts.wait(2), None);
        pauses(&mut attempts, 2, 5);
        // It was lost and found again.
        attempts.meet(first);
        assert!(attempts.wait(2).is_some());
        assert_eq!(attempts.wait(3), None);
        assert_eq!(pauses(&mut attempts, 3, 1), [0.25]);
        pauses(&mut attempts, 3, 5);
        attempts.meet(first);
        assert!(attempts.wait(3).is_some());
        attempts.meet(second);
        assert_eq!(attempts.wait(3), None);
        assert_eq!(pauses(&mut attempts, 3, 1), [0.25]);
    }
}
