use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::link::Link;
use super::message::{Message, Ready};
use super::pass::Passing;
use super::witness::Testimony;
use crate::exclusive::Exclusives;
use crate::ownership::{OwnerLock, StateDirectory};
use crate::server::{Intake, Parked};

/// What became of a standby's request to become active.
#[derive(Debug)]
pub(crate) enum Taken {
    /// The standby is the owner.
    Took(Took),
    /// The owner refused, and why. The link goes on.
    Refused(String),
    /// The owner gave up or died, and why it is thought so. The link is of no use any more.
    Lost(String),
}

/// What a new owner owns.
#[derive(Debug)]
pub(crate) struct Took {
    pub(crate) lock: OwnerLock,
    pub(crate) connections: Vec<Parked>,
    /// From the request to the commit.
    pub(crate) commit: Duration,
}

/// Asks the owner for everything that it owns.
///
/// `passing` are the connections on their way to the owner. If the owner died while the standby
/// held connections for it, those are in the intake's queue, and what was opened stays open.
pub(crate) async fn take(
    link: &mut Link,
    passing: &mut Passing,
    intake: &Intake,
    exclusives: &mut Exclusives,
    state: &StateDirectory,
    ready: &Ready,
) -> Taken {
    let began = Instant::now();
    let testimony = match request(link, passing, ready).await {
        Ok(Answer::Begin(testimony)) => testimony,
        Ok(Answer::Refused(reason)) => return Taken::Refused(reason),
        Err(error) => return Taken::Lost(error.to_string()),
    };
    let mut held = Vec::new();
    let (lock, last) = match hold(link, intake, exclusives, state, &mut held).await {
        Ok(lock) => (Some(lock), link.sender().held(0).await),
        Err(error) => (None, Err(error)),
    };
    let died = match &last {
        Ok(()) => None,
        Err(_) => Some(testimony.owner_died().await),
    };
    match (lock, died) {
        (Some(lock), None | Some(true)) => Taken::Took(Took {
            lock,
            connections: held,
            commit: began.elapsed(),
        }),
        (_, died) => {
            if died == Some(true) {
                // Nobody else has its connections, nor what is open here.
                held.into_iter().for_each(|parked| intake.keep(parked));
                exclusives.forget();
            } else {
                exclusives.give_up().await;
            }
            let reason = last
                .err()
                .map_or_else(String::new, |error| error.to_string());
            Taken::Lost(match died {
                Some(true) => format!("the owner died during the handover: {reason}"),
                // By these words the operator knows that the owner has the reason.
                _ => format!("the owner gave the handover up: {reason}"),
            })
        }
    }
}

enum Answer {
    Begin(Testimony),
    Refused(String),
}

async fn request(link: &mut Link, passing: &mut Passing, ready: &Ready) -> io::Result<Answer> {
    link.sender().ready(ready).await?;
    loop {
        match link.receive().await {
            Some(Message::Held(id)) => drop(passing.held(id)),
            // It was asked for what it is doing already.
            Some(Message::Take) => {}
            Some(Message::Begin { witness }) => {
                return Ok(Answer::Begin(Testimony::new(witness)?));
            }
            Some(Message::Refused(reason)) => return Ok(Answer::Refused(reason)),
            other => return Err(unexpected(other)),
        }
    }
}

/// Holds what arrives, until the commit.
async fn hold(
    link: &mut Link,
    intake: &Intake,
    exclusives: &mut Exclusives,
    state: &StateDirectory,
    held: &mut Vec<Parked>,
) -> io::Result<OwnerLock> {
    loop {
        match link.receive().await {
            Some(Message::Connection { id, passed }) => {
                held.push(intake.receive(passed)?);
                link.sender().held(id).await?;
            }
            Some(Message::State { name, state }) => exclusives.remember(name, state),
            Some(Message::Open) => match exclusives.renew().await {
                Ok(()) => link.sender().held(0).await?,
                Err(reason) => {
                    link.sender().refused(&reason).await?;
                    return Err(io::Error::other(reason));
                }
            },
            Some(Message::Commit { lock }) => return OwnerLock::received(lock, state),
            other => return Err(unexpected(other)),
        }
    }
}

fn unexpected(message: Option<Message>) -> io::Error {
    match message {
        None => io::Error::new(io::ErrorKind::UnexpectedEof, "its socket was closed"),
        Some(message) => io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it broke the protocol with {message:?}"),
        ),
    }
}
