use std::fmt;
use std::time::Duration;

use crate::error::plural;
use crate::{CONFIGURATION_NAME, HOLD, LEASE_NAME};

/// Gets each step as it is done.
pub type Tell<'a> = &'a (dyn Fn(&Step) + Sync);

/// Something that was done, or begins. Its text is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// No replica leads any more.
    LeaseTaken {
        /// Namespace of the operator.
        namespace: String,
        /// Who led.
        from: Option<String>,
    },
    /// No operator was found that could be stopped.
    NoOperator,
    /// The former leader may not know yet.
    WaitingForLeader(Duration),
    /// The API server is told to change no pods any more.
    WebhookDeleted {
        /// Whether there was something to delete.
        existed: bool,
    },
    /// Dry-run pods are created until none is changed.
    Probing,
    /// Dry-run pods tell nothing.
    NotProbed {
        /// What became of them.
        why: String,
        /// How long is waited instead.
        wait: Duration,
    },
    /// Gates were taken off.
    PodsReleased {
        /// From so many pods.
        pods: usize,
        /// In so many namespaces.
        namespaces: usize,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = HOLD.as_secs() / 60;
        match self {
            Step::LeaseTaken { namespace, from } => {
                write!(f, "Lease {namespace}/{LEASE_NAME} taken")?;
                if let Some(from) = from {
                    write!(f, " from {from}")?;
                }
                write!(
                    f,
                    ": no replica of the operator leads for {minutes} minutes"
                )
            }
            Step::NoOperator => {
                write!(
                    f,
                    "no Lease {LEASE_NAME} found: there is no operator to stop"
                )
            }
            Step::WaitingForLeader(wait) => write!(
                f,
                "waiting for {} s, by when the leader has stopped",
                wait.as_secs()
            ),
            Step::WebhookDeleted { existed: true } => write!(
                f,
                "MutatingWebhookConfiguration {CONFIGURATION_NAME} deleted: new pods get no sidecars and no gates"
            ),
            Step::WebhookDeleted { existed: false } => write!(
                f,
                "MutatingWebhookConfiguration {CONFIGURATION_NAME} is gone already"
            ),
            Step::Probing => write!(
                f,
                "waiting until dry-run pods show that every API server knows"
            ),
            Step::NotProbed { why, wait } => write!(
                f,
                "dry-run pods cannot show it ({why}); waiting for {} s instead",
                wait.as_secs()
            ),
            Step::PodsReleased { pods: 0, .. } => write!(f, "no pod waits behind the gate"),
            Step::PodsReleased { pods, namespaces } => write!(
                f,
                "{pods} {} released in {namespaces} {}; no other waits behind the gate",
                plural(*pods, "pod", "pods"),
                plural(*namespaces, "namespace", "namespaces"),
            ),
        }
    }
}
