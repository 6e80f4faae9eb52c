use std::os::fd::AsFd;
use std::time::Duration;

use outrigger_control::Role;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};

use super::attend::{Attendance, Departure};
use super::seek::NotJoined;
use super::{Next, Worker, until};
use crate::handover::{self, Link, OwnerSocket, Ready, Sender};
use crate::ownership::{OwnerLock, Record};
use crate::{Leave, roles};

/// How long a leaving owner waits for its standby to take over.
const LEAVE: Duration = Duration::from_secs(3);
/// Pause after the owner's socket could not be had.
const PAUSE: Duration = Duration::from_secs(1);
/// Pause after something exclusive could not be opened. Who has it may be about to close it.
const REOPEN: Duration = Duration::from_millis(50);
/// Pause after something exclusive could not be closed, which takes a while to learn.
const RECLOSE: Duration = Duration::from_secs(5);
/// Longest time to ask a standby to take over.
const ASK: Duration = Duration::from_millis(100);

/// What makes a worker the owner.
pub(super) struct Owning {
    pub(super) lock: OwnerLock,
    /// How it came to own, to be recorded.
    pub(super) record: Record,
    /// The former owner, which waits until this one can be followed.
    pub(super) former: Option<Link>,
}

/// The state of an owner.
struct Ownership {
    lock: OwnerLock,
    record: Record,
    socket: Option<OwnerSocket>,
    /// The former owner, until it can find this one.
    former: Option<Link>,
    attendants: JoinSet<Departure>,
    admitted: mpsc::UnboundedReceiver<(u64, Sender)>,
    admit: mpsc::UnboundedSender<(u64, Sender)>,
    links: u64,
    standby: Option<(u64, Sender)>,
    /// When an owner that was told to stop waits no longer for its standby.
    leave_by: Option<Instant>,
    /// When to try again to open what is exclusive, after a failure.
    reopen: Option<Instant>,
}

impl Worker {
    /// Serves, until a standby takes over or the worker is told to stop.
    pub(super) async fn own(&mut self, owning: Owning) -> Next {
        let Owning {
            lock,
            record,
            former,
        } = owning;
        if let Err(error) = lock.write(record) {
            tracing::error!(%error, "Record of ownership could not be written");
        }
        if !self.resume() {
            // Others may be able to.
            self.exclusives.give_up().await;
            drop((lock, former));
            sleep(PAUSE).await;
            return Next::Seek { at_once: false };
        }
        self.status.role(Role::Active);
        let (admit, admitted) = mpsc::unbounded_channel();
        let mut ownership = Ownership {
            lock,
            record,
            socket: self.owner_socket(),
            former,
            attendants: JoinSet::new(),
            admitted,
            admit,
            links: 0,
            standby: None,
            leave_by: None,
            reopen: None,
        };
        loop {
            if ownership.socket.is_some() {
                ownership.former = None;
            }
            if let Some(next) = self.own_on(&mut ownership).await {
                return match next {
                    Left::Given(successor) => Next::Yield {
                        lock: ownership.lock,
                        successor,
                    },
                    Left::Alone => Next::Drain {
                        lock: Some(ownership.lock),
                    },
                    Left::Unable => {
                        self.exclusives.give_up().await;
                        Next::Seek { at_once: false }
                    }
                };
            }
        }
    }

    /// Accepts and serves; false if that is not possible.
    fn resume(&mut self) -> bool {
        let Some(listeners) = &self.listeners else {
            return false;
        };
        match self.server.resume(listeners) {
            Ok(()) => true,
            Err(error) => {
                self.status
                    .trouble(format!("connections cannot be accepted: {error}"));
                false
            }
        }
    }

    /// Opens what is exclusive of the functions in use, unless that failed and `reopen`, the time
    /// to try again, is still to come.
    async fn open(&mut self, reopen: &mut Option<Instant>) {
        if self.exclusives.are_in_use() {
            *reopen = None;
            return;
        }
        if reopen.is_some_and(|reopen| Instant::now() < reopen) {
            return;
        }
        let mut pause = REOPEN;
        let opened = match self.close_unused().await {
            Ok(()) => self.exclusives.renew().await,
            Err(reason) => {
                pause = RECLOSE;
                Err(reason)
            }
        };
        *reopen = match opened {
            Ok(()) => {
                // The trouble is over.
                self.status.role(Role::Active);
                None
            }
            Err(reason) => {
                self.status.trouble(reason);
                Some(Instant::now() + pause)
            }
        };
    }

    /// Closes what is exclusive of a former configuration. Its upgraded connections go on in the
    /// new one, be it open or not yet.
    async fn close_unused(&mut self) -> Result<(), String> {
        if !self.exclusives.has_unused() {
            return Ok(());
        }
        self.server.move_upgraded(Some(Leave::HandOver));
        let closed = self.exclusives.close_unused().await;
        self.server.move_upgraded(None);
        closed
    }

    fn owner_socket(&self) -> Option<OwnerSocket> {
        match OwnerSocket::bind(&self.state.owner_socket()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::error!(%error, "Owner's socket could not be had");
                None
            }
        }
    }

    /// One event in an owner's life; `Some` if it was the last.
    async fn own_on(&mut self, ownership: &mut Ownership) -> Option<Left> {
        let (order, _) = self.review();
        let confirmed = roles::confirmed(order.as_ref(), ownership.record, self.settings.slot);
        if let Some(record) = confirmed {
            match ownership.lock.write(record) {
                Ok(()) => ownership.record = record,
                Err(error) => tracing::error!(%error, "Order could not be recorded"),
            }
        }
        self.open(&mut ownership.reopen).await;
        let (leave_by, reopen) = (ownership.leave_by, ownership.reopen);
        tokio::select! {
            parked = self.server.parked() => self.server.serve(parked),
            link = next_link(ownership.socket.as_ref()) => match link {
                Some(link) => self.admit(ownership, link),
                None => ownership.socket = self.owner_socket(),
            },
            Some((serial, sender)) = ownership.admitted.recv() => {
                if leave_by.is_some() {
                    ask_to_take(&sender).await;
                }
                ownership.standby = Some((serial, sender));
            }
            Some(departed) = ownership.attendants.join_next() => match departed {
                Ok(Departure { serial, request: Some((link, ready)) }) => {
                    return self.requested(ownership, serial, link, &ready).await;
                }
                Ok(Departure { serial, request: None }) => {
                    ownership.standby.take_if(|(known, _)| *known == serial);
                }
                Err(error) => tracing::error!(%error, "Standby was lost"),
            },
            _ = self.direction.changed() => ownership.reopen = None,
            () = until(reopen), if reopen.is_some() => {}
            () = self.stop.told(), if leave_by.is_none() => {
                let Some((_, standby)) = &ownership.standby else {
                    return Some(Left::Alone);
                };
                ownership.leave_by = Some(Instant::now() + LEAVE);
                ask_to_take(standby).await;
            }
            () = until(leave_by), if leave_by.is_some() => {
                tracing::warn!("The standby did not take over in time");
                return Some(Left::Alone);
            }
        }
        let alone = ownership.standby.is_none() && ownership.leave_by.is_some();
        alone.then_some(Left::Alone)
    }

    fn admit(&self, ownership: &mut Ownership, link: Link) {
        let listeners = match self.listeners.as_ref().map(|held| held.duplicate()) {
            Some(Ok(listeners)) => listeners,
            Some(Err(error)) => {
                tracing::error!(%error, "Listeners could not be duplicated for the standby");
                return;
            }
            None => return,
        };
        ownership.links += 1;
        let attendance = self.attendance(ownership, ownership.links);
        ownership
            .attendants
            .spawn(attendance.admit(link, listeners));
    }

    fn attendance(&self, ownership: &Ownership, serial: u64) -> Attendance {
        Attendance {
            serial,
            slot: self.settings.slot,
            intake: self.server.intake(),
            admitted: ownership.admit.clone(),
        }
    }

    /// The standby at the link with a serial number asks to become active.
    async fn requested(
        &mut self,
        ownership: &mut Ownership,
        serial: u64,
        mut link: Link,
        ready: &Ready,
    ) -> Option<Left> {
        let leaving = ownership.leave_by.is_some();
        let connections = self.server.traffic().connections();
        if let Err(reason) = roles::may_give(ready, ownership.record, leaving, connections) {
            tracing::warn!(reason, "Handover was refused");
            // A standby that is gone needs no reason.
            let _ = timeout(ASK, link.sender().refused(&reason)).await;
            let attendance = self.attendance(ownership, serial);
            let _: AbortHandle = ownership.attendants.spawn(attendance.attend(link));
            return leaving.then_some(Left::Alone);
        }
        // What stays closed after that could not be opened.
        self.open(&mut ownership.reopen).await;
        self.status.role(Role::Draining);
        match handover::give(
            &mut link,
            &mut self.server,
            &mut self.exclusives,
            ownership.lock.as_fd(),
        )
        .await
        {
            Ok(given) => {
                self.status.handed_over(given.connections, given.commit);
                Some(Left::Given(link))
            }
            Err(aborted) => {
                self.status.not_handed_over(aborted.to_string());
                if !self.resume() {
                    return Some(Left::Unable);
                }
                self.status.role(Role::Active);
                ownership.reopen = None;
                None
            }
        }
    }

    /// Becomes the standby of a successor that has taken everything over.
    pub(super) async fn follow(&mut self, lock: OwnerLock, mut successor: Link) -> Next {
        // It closes the link when it can be found.
        while successor.receive().await.is_some() {}
        drop(successor);
        let leaving = self.stop.is_told();
        if let Ok(link) = Link::connect(&self.state.owner_socket()) {
            match self.join(link, !leaving).await {
                Ok(link) => return Next::Stand(link),
                Err(NotJoined::Stopped) => return Next::Drain { lock: None },
                Err(NotJoined::Refused(reason)) => {
                    // It lives, and has the lock too.
                    self.status.trouble(reason);
                    return Next::Seek { at_once: false };
                }
                Err(NotJoined::Gone) => {}
            }
        }
        if leaving {
            return Next::Drain { lock: None };
        }
        tracing::warn!("The successor died at once");
        Next::Own(self.claimed(lock))
    }
}

/// How an owner ceases to be one.
enum Left {
    /// It passed everything to a standby.
    Given(Link),
    /// It was told to stop, and has nobody to pass anything to.
    Alone,
    /// It cannot accept connections any more.
    Unable,
}

async fn ask_to_take(standby: &Sender) {
    // A standby that is gone, or does not listen, is waited for no longer than LEAVE.
    let _ = timeout(ASK, standby.take()).await;
}

/// The next link at the owner's socket; `None` when there is no such socket, after a pause.
async fn next_link(socket: Option<&OwnerSocket>) -> Option<Link> {
    match socket {
        Some(socket) => match socket.accept().await {
            Ok(link) => Some(link),
            Err(error) => {
                tracing::error!(%error, "Owner's socket failed");
                sleep(PAUSE).await;
                None
            }
        },
        None => {
            sleep(PAUSE).await;
            None
        }
    }
}
