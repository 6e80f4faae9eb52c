//! Which node each pod should be on: pure decisions from where the data is.
//!
//! `decide` looks at everything that concerns one application and says what to do now. It
//! remembers nothing: what was decided is in the annotations of the pods. Nothing here talks to
//! the API server, asks for the time, or draws lots.

mod data;
mod decision;
mod explanation;
mod node;
mod situation;
mod volume;

pub use data::{Located, Part};
pub use decision::{Decision, Release, Replacement, Waiting};
pub use explanation::{
    AskedFor, EXPLANATION_ANNOTATION, Explanation, InvalidExplanation, RunnerUp, Share, Size,
};
pub use node::{Node, ZONE_LABEL, room, takes_room};
pub use situation::{
    AppPod, Avoided, Data, DataState, Locality, Mode, Replaceable, Reserved, Situation, Split,
    Workload,
};
pub use volume::{Claim, Place, Volume};
