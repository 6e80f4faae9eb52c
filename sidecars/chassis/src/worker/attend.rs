use std::time::Duration;

use outrigger_control::Slot;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::handover::{Hello, Link, Message, Ready, Sender, Welcome};
use crate::listeners::Listeners;
use crate::roles;
use crate::server::Intake;

/// Longest wait for a standby to say who it is.
const HELLO: Duration = Duration::from_secs(1);

/// What an owner knows of the standby at one link.
pub(super) struct Attendance {
    pub(super) serial: u64,
    pub(super) slot: Slot,
    pub(super) intake: Intake,
    /// Where a standby is announced once it is admitted.
    pub(super) admitted: mpsc::UnboundedSender<(u64, Sender)>,
}

/// How an attendance ended.
pub(super) struct Departure {
    pub(super) serial: u64,
    /// The standby asks to become active; otherwise it is gone.
    pub(super) request: Option<(Link, Ready)>,
}

impl Attendance {
    /// Admits a standby, then attends it.
    pub(super) async fn admit(self, mut link: Link, listeners: Listeners) -> Departure {
        let hello = match timeout(HELLO, link.receive()).await {
            Ok(Some(Message::Hello(hello))) => hello,
            _ => return self.gone(),
        };
        if let Err(reason) = roles::may_follow(&hello, self.slot) {
            tracing::error!(reason, "Standby was refused");
            // A standby that is gone needs no reason.
            let _ = link.sender().refused(&reason).await;
            return self.gone();
        }
        let descriptors = match hello.sockets {
            true => listeners.descriptors(),
            false => listeners.ports_only(),
        };
        link.sender().learn(hello.states);
        let welcome = Welcome { states: true };
        let given = link.sender().listeners(&descriptors, &welcome).await;
        drop(descriptors);
        drop(listeners);
        if given.is_err() {
            return self.gone();
        }
        let Hello { slot, version, .. } = hello;
        tracing::info!(standby = %slot, version, "Standby follows");
        // An owner that is not any more takes this task with it.
        let _ = self.admitted.send((self.serial, link.sender().clone()));
        self.attend(link).await
    }

    /// Takes the connections that the standby still has, until it asks for more or is gone.
    pub(super) async fn attend(self, mut link: Link) -> Departure {
        loop {
            match link.receive().await {
                Some(Message::Connection { id, passed }) => {
                    let parked = match self.intake.receive(passed) {
                        Ok(parked) => parked,
                        Err(error) => {
                            tracing::error!(%error, "Connection of the standby was refused");
                            return self.gone();
                        }
                    };
                    // Only a standby that is gone does not hear it, and then nobody else has the
                    // connection. A standby that lives must hear it before anybody reads.
                    let _ = link.sender().held(id).await;
                    self.intake.keep(parked);
                }
                Some(Message::Ready(ready)) => {
                    return Departure {
                        serial: self.serial,
                        request: Some((link, ready)),
                    };
                }
                Some(other) => {
                    tracing::error!(message = ?other, "Standby broke the protocol");
                    return self.gone();
                }
                None => return self.gone(),
            }
        }
    }

    fn gone(&self) -> Departure {
        Departure {
            serial: self.serial,
            request: None,
        }
    }
}
