//! How a new image of a sidecar reaches running pods: pure decisions from what was observed to what
//! is done next.
//!
//! [`decide`] looks at everything that concerns one IntegrationSidecar and says what to do now. It
//! remembers nothing: a swap's progress is in the order of its pod, failed revisions are marked on
//! their ControllerRevisions, and the operator may die between any two of the [`Action`]s. Nothing
//! here talks to the API server or asks for the time.

mod action;
mod answer;
mod application;
mod budget;
mod condition;
mod consumer;
mod decide;
mod limits;
mod pod;
mod revision;
mod slot;
mod swap;
mod trial;

pub use action::Action;
pub use answer::{Answer, Answers};
pub use application::Application;
pub use condition::{State, Summary};
pub use consumer::{Consumer, Consumers};
pub use decide::{Decision, Observed, decide};
pub use pod::{PodChange, SwapPod, carriers};
pub use revision::{
    DIGEST_ANNOTATION, FAILED_ANNOTATION, FAILED_IN_ANNOTATION, Failure, KnownRevision,
    PROVEN_ANNOTATION,
};
pub use slot::{Container, Ended, SlotState};
pub use swap::{Change, Goal, Step, Waiting, step};
pub use trial::{TRIALS_AT_ONCE, TrialResult, trial_result};
