use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether the worker is told to stop.
pub(super) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    told: bool,
}

impl Stop {
    pub(super) fn install() -> io::Result<Stop> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            told: false,
        })
    }

    /// Waits until the worker is told to stop; at once if it was.
    pub(super) async fn told(&mut self) {
        if !self.told {
            tokio::select! {
                _ = self.terminate.recv() => {}
                _ = self.interrupt.recv() => {}
            }
            self.told = true;
        }
    }

    pub(super) fn is_told(&self) -> bool {
        self.told
    }
}
