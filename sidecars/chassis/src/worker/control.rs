use std::sync::Arc;
use std::time::Duration;

use outrigger_control::{Order, Slot};
use tokio::sync::watch;

use crate::configuration::{Configuration, Offer};
use crate::control_files::{ControlFiles, OrderFile};
use crate::status::Status;
use crate::tenancy::Addresses;
use crate::warmth::Warmth;

/// Pause after the control files could not be watched.
const PAUSE: Duration = Duration::from_secs(1);

/// What the control files say to the roles of a worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Direction {
    /// The newest readable order.
    pub(super) order: Option<Order>,
    /// Why the order file is not readable, if it is not.
    pub(super) unreadable: Option<String>,
    /// Hash of the document in use.
    pub(super) configuration: Option<String>,
}

/// Follows the control files: takes new documents, and passes on orders.
pub(super) struct Follower {
    files: ControlFiles,
    configuration: Configuration,
    warmth: Warmth,
    slot: Slot,
    status: Arc<Status>,
    direction: watch::Sender<Direction>,
    addresses: watch::Sender<Addresses>,
}

impl Follower {
    /// Reads the files as they are now.
    pub(super) fn new(
        files: ControlFiles,
        configuration: Configuration,
        warmth: Warmth,
        slot: Slot,
        status: Arc<Status>,
        addresses: watch::Sender<Addresses>,
    ) -> (Follower, watch::Receiver<Direction>) {
        let (direction, watch) = watch::channel(Direction::default());
        let mut follower = Follower {
            files,
            configuration,
            warmth,
            slot,
            status,
            direction,
            addresses,
        };
        follower.look();
        if follower.configuration.report().hash.is_none() {
            let restored = follower.configuration.restore();
            follower.use_configuration(restored);
        }
        (follower, watch)
    }

    /// Follows every change.
    pub(super) async fn run(mut self) {
        loop {
            if let Err(error) = self.files.changed().await {
                tracing::error!(%error, "Control files could not be watched");
                tokio::time::sleep(PAUSE).await;
            }
            self.look();
        }
    }

    fn look(&mut self) {
        let (order, unreadable) = match self.files.order() {
            OrderFile::Order(order) => (Some(*order), None),
            OrderFile::Unreadable(reason) => (None, Some(reason)),
            OrderFile::Absent => (None, None),
        };
        self.direction.send_if_modified(|direction| {
            let former = direction.clone();
            // What is not readable does not undo what was.
            direction.order = order.or_else(|| direction.order.take());
            direction.unreadable = unreadable;
            *direction != former
        });
        let order = self.direction.borrow().order.clone();
        let offer = order.and_then(|order| self.offer(order.config.of(self.slot)));
        self.use_configuration(offer);
        match self.files.tenants() {
            Some(Ok(addresses)) => {
                self.addresses.send_if_modified(|former| {
                    let changed = *former != addresses;
                    *former = addresses;
                    changed
                });
            }
            Some(Err(error)) => tracing::error!(error, "List of tenants could not be used"),
            None => {}
        }
    }

    fn offer(&mut self, hash: &str) -> Option<Offer> {
        match self.files.document(hash) {
            Ok(Some(text)) => {
                let secrets = self.files.secrets_fingerprint();
                Some(self.configuration.offer(hash, &text, secrets))
            }
            // It will be.
            Ok(None) => None,
            Err(error) => {
                tracing::error!(hash, %error, "Document could not be read");
                None
            }
        }
    }

    fn use_configuration(&mut self, offer: Option<Offer>) {
        let taken = offer == Some(Offer::Taken);
        if taken {
            let functions = self.configuration.functions().load_full();
            self.warmth.begin(functions);
        }
        let report = self.configuration.report();
        self.status.configuration(report.clone());
        self.direction.send_if_modified(|direction| {
            let changed = direction.configuration != report.hash;
            direction.configuration.clone_from(&report.hash);
            // With rotated Secrets a document makes other functions under the same hash, which have
            // to be opened.
            changed || taken
        });
    }
}
