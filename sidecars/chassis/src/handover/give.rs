use std::collections::BTreeSet;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::link::Link;
use super::message::Message;
use super::pass::Passing;
use super::witness::Witness;
use crate::exclusive::{Exclusives, QUIET, STEP};
use crate::server::{Parked, Server};

/// Idle connections have parked by then; those that have not are busy and follow one by one.
const SETTLE: Duration = Duration::from_millis(2);
/// Longest time without an acknowledgement.
const SILENCE: Duration = Duration::from_millis(100);
/// Longest time from the beginning to the commit.
const TOTAL: Duration = Duration::from_secs(2);
/// Most connections that wait for the commit; the others follow it.
const BATCH: usize = 2_000;

/// A handover that reached its commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Given {
    /// Connections that moved with the commit.
    pub(crate) connections: usize,
    /// From the standby's request to the commit.
    pub(crate) commit: Duration,
}

/// A handover was given up; the owner owns what it owned before, and its connections are in the
/// server's queue of parked ones.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Aborted {
    #[error("the other slot closed the handover's socket")]
    Gone,
    #[error("the other slot acknowledged nothing for {} ms", SILENCE.as_millis())]
    Silent,
    #[error("the commit was not reached within {} s", TOTAL.as_secs())]
    Late,
    /// How many connections of which functions did not come to rest.
    #[error("{} still in a request, or upgraded and not leaving, after {} s", listed(.0), QUIET.as_secs())]
    Busy(Vec<(String, u64)>),
    #[error("{0}")]
    NotClosed(String),
    #[error("in the other slot {0}")]
    NotOpened(String),
    #[error("the other slot broke the protocol with {0}")]
    Unexpected(String),
    #[error("{0}")]
    Failed(String),
}

fn listed(connections: &[(String, u64)]) -> String {
    let of = |(function, number): &(String, u64)| match number {
        1 => format!("function {function}: 1 connection"),
        number => format!("function {function}: {number} connections"),
    };
    connections.iter().map(of).collect::<Vec<_>>().join(", ")
}

impl From<io::Error> for Aborted {
    fn from(error: io::Error) -> Aborted {
        match error.kind() {
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected => Aborted::Gone,
            _ => Aborted::Failed(error.to_string()),
        }
    }
}

/// Passes the listeners' ownership and all idle connections to a standby that is ready.
///
/// The server is left parked, whatever the result. What is exclusive may be closed even if the
/// handover is given up; it is to be opened again then.
pub(crate) async fn give(
    link: &mut Link,
    server: &mut Server,
    exclusives: &mut Exclusives,
    lock: BorrowedFd<'_>,
) -> Result<Given, Aborted> {
    let began = Instant::now();
    let witness = Witness::new()?;
    let mut giving = Giving {
        passing: Passing::default(),
        held: Vec::new(),
        committing: false,
        settled: began + SETTLE,
        silence: began + SILENCE,
        end: began + TOTAL,
    };
    let given = match giving.run(link, server, exclusives, &witness, lock).await {
        Ok(()) => Ok(()),
        Err(aborted) => {
            // In this order: whoever learns that the socket is closed can learn why.
            if let Err(error) = witness.gave_up() {
                tracing::error!(%error, "Other slot could not be told of the end of a handover");
            }
            link.close();
            giving.committed_before_the_end(link).await.ok_or(aborted)
        }
    };
    match given {
        Ok(()) => {
            exclusives.forget();
            Ok(Given {
                connections: giving.held.len(),
                commit: began.elapsed(),
            })
        }
        Err(aborted) => {
            let intake = server.intake();
            for parked in giving.held {
                intake.keep(parked);
            }
            for parked in giving.passing.into_unacknowledged() {
                intake.keep(parked);
            }
            Err(aborted)
        }
    }
}

fn unexpected(message: Option<Message>) -> Aborted {
    match message {
        Some(other) => Aborted::Unexpected(format!("{other:?}")),
        None => Aborted::Gone,
    }
}

struct Giving {
    passing: Passing,
    /// Acknowledged, but ours until the commit.
    held: Vec<Parked>,
    committing: bool,
    settled: Instant,
    silence: Instant,
    end: Instant,
}

impl Giving {
    async fn run(
        &mut self,
        link: &mut Link,
        server: &mut Server,
        exclusives: &mut Exclusives,
        witness: &Witness,
        lock: BorrowedFd<'_>,
    ) -> Result<(), Aborted> {
        self.in_time(link.sender().begin(witness.theirs())).await?;
        server.park(link.sender().leave()).await;
        self.settled = Instant::now() + SETTLE;
        self.pass_idle(link, server).await?;
        // They wait for what this worker could not open: the other one may.
        exclusives.dismiss_waiting();
        if !exclusives.is_empty() {
            self.rest(link, server, &exclusives.open_ports()).await?;
            self.pass_exclusives(link, exclusives).await?;
        }
        self.committing = true;
        self.heard();
        self.in_time(link.sender().commit(lock)).await?;
        match self.answer(link).await? {
            Some(Message::Held(_)) => Ok(()),
            message => Err(unexpected(message)),
        }
    }

    async fn pass_idle(&mut self, link: &mut Link, server: &mut Server) -> Result<(), Aborted> {
        loop {
            if self.may_commit(server) {
                return Ok(());
            }
            let full = self.held.len() >= BATCH;
            tokio::select! {
                biased;
                message = link.receive() => match message {
                    Some(Message::Held(id)) => {
                        self.held.extend(self.passing.held(id));
                        self.heard();
                    }
                    message => return Err(unexpected(message)),
                },
                parked = server.parked(), if !full && self.passing.has_room() => {
                    if self.passing.is_empty() {
                        self.heard();
                    }
                    let deadline = self.deadline();
                    timeout_at(deadline, self.passing.send(link.sender(), parked))
                        .await
                        .map_err(|_| self.too_late())??;
                }
                () = sleep_until(self.settled), if self.passing.is_empty() => {}
                () = sleep_until(self.deadline()), if !self.passing.is_empty() => {
                    self.is_too_late(link).await?;
                }
            }
        }
    }

    /// Waits until no connection of some functions is served any more.
    async fn rest(
        &mut self,
        link: &mut Link,
        server: &mut Server,
        names: &BTreeSet<&str>,
    ) -> Result<(), Aborted> {
        let end = Instant::now() + QUIET;
        let functions = server.indices(names);
        let intake = server.intake();
        let mut connections = server.traffic().watch();
        // They follow the commit.
        let mut waiting = Vec::new();
        let rested = loop {
            let mut served = connections.borrow_and_update().clone();
            for parked in self.held.iter().chain(&waiting) {
                let served = &mut served[parked.function()];
                *served = served.saturating_sub(1);
            }
            let busy = functions.iter().filter(|function| served[**function] > 0);
            let busy: Vec<_> = busy
                .map(|function| (intake.name(*function).to_owned(), served[*function]))
                .collect();
            if busy.is_empty() {
                break Ok(());
            }
            tokio::select! {
                biased;
                parked = server.parked() => waiting.push(parked),
                _ = connections.changed() => {}
                message = link.receive() => break Err(unexpected(message)),
                () = sleep_until(end) => break Err(Aborted::Busy(busy)),
            }
        };
        for parked in waiting {
            intake.keep(parked);
        }
        rested
    }

    /// Closes what is exclusive here and has it opened in the other slot, with what it remembers.
    async fn pass_exclusives(
        &mut self,
        link: &mut Link,
        exclusives: &mut Exclusives,
    ) -> Result<(), Aborted> {
        exclusives.close().await.map_err(Aborted::NotClosed)?;
        if link.sender().takes_states() {
            self.silence = Instant::now() + STEP * 2;
            self.end = self.silence;
            for (name, state) in exclusives.states() {
                self.in_time(link.sender().state(name, state)).await?;
            }
            self.in_time(link.sender().open()).await?;
            match self.answer(link).await? {
                Some(Message::Held(_)) => {}
                Some(Message::Refused(reason)) => return Err(Aborted::NotOpened(reason)),
                message => return Err(unexpected(message)),
            }
        }
        self.end = Instant::now() + TOTAL;
        Ok(())
    }

    /// Everything that can move with the commit is held by the other slot.
    fn may_commit(&self, server: &Server) -> bool {
        if !self.passing.is_empty() {
            return false;
        }
        let held = self.held.len();
        let all = server.traffic().connections() == held as u64;
        all || held >= BATCH || (self.settled <= Instant::now() && !server.has_parked())
    }

    /// After the socket was closed: whether the standby had acknowledged the commit before.
    async fn committed_before_the_end(&self, link: &mut Link) -> Option<()> {
        let mut last = None;
        while let Some(message) = link.receive().await {
            last = Some(message);
        }
        (self.committing && matches!(last, Some(Message::Held(_)))).then_some(())
    }

    fn heard(&mut self) {
        self.silence = Instant::now() + SILENCE;
    }

    fn deadline(&self) -> Instant {
        self.silence.min(self.end)
    }

    /// The other slot's answer to what it was sent last.
    async fn answer(&self, link: &mut Link) -> Result<Option<Message>, Aborted> {
        loop {
            match timeout_at(self.deadline(), link.receive()).await {
                Ok(message) => return Ok(message),
                Err(_) => self.is_too_late(link).await?,
            }
        }
    }

    /// An error after the deadline, unless the answer is there and was only not read yet.
    async fn is_too_late(&self, link: &mut Link) -> Result<(), Aborted> {
        if self.end <= Instant::now() || !link.has_arrived().await {
            return Err(self.too_late());
        }
        Ok(())
    }

    fn too_late(&self) -> Aborted {
        if self.end <= Instant::now() {
            Aborted::Late
        } else {
            Aborted::Silent
        }
    }

    async fn in_time<T>(&self, step: impl Future<Output = io::Result<T>>) -> Result<T, Aborted> {
        match timeout_at(self.deadline(), step).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(self.too_late()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_function_it_is_said_how_many_connections_are_busy() {
        let of = |function: &str, connections| (function.to_owned(), connections);
        assert_eq!(
            Aborted::Busy(vec![of("echo", 1)]).to_string(),
            "function echo: 1 connection still in a request, or upgraded and not leaving, after 5 s"
        );
        assert_eq!(
            Aborted::Busy(vec![of("echo", 1), of("tick", 2)]).to_string(),
            "function echo: 1 connection, function tick: 2 connections still in a request, or upgraded and not leaving, after 5 s"
        );
    }
}
