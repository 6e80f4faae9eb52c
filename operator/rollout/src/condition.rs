//! What is said of an IntegrationSidecar.

/// The state of a sidecar in one reason and one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whether it does what its spec asks for.
    pub state: State,
    /// The reason, one of `outrigger_api::conditions::reason`.
    pub reason: &'static str,
    /// What is so, and where.
    pub message: String,
}

/// How things stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As the spec asks for.
    Ready,
    /// The operator is at work.
    Reconciling,
    /// Somebody else has to act.
    Stalled,
}

impl Summary {
    pub(crate) fn new(state: State, reason: &'static str, message: impl Into<String>) -> Summary {
        Summary {
            state,
            reason,
            message: message.into(),
        }
    }
}
