//! Which node each pod should be on: pure decisions from where the data is.
//!
//! [`decide`] looks at everything that concerns one application and says what to do now. It
//! remembers nothing: what was decided is in the annotations of the pods. Nothing here talks to
//! the API server, asks for the time, or draws lots.

mod assign;
mod board;
mod constraint;
mod data;
mod decide;
mod decision;
mod eligible;
mod excluded;
mod explain;
mod explanation;
mod gate;
mod node;
mod pin;
mod plan;
mod pod;
mod reading;
mod selector;
mod situation;
mod spread;
mod stuck;
mod taint;
mod volume;

pub use assign::{Assignment, NodeSlots, Task, assign};
pub use data::{Located, Part};
pub use decide::{decide, let_go};
pub use decision::{Decision, Release, Replacement, Waiting};
pub use eligible::conflict;
pub use excluded::Excluded;
pub use explanation::{AskedFor, Explanation, InvalidExplanation, RunnerUp, Share, Size};
pub use gate::{Gate, Known, Pass, gate};
pub use node::{HOSTNAME_LABEL, Node, ZONE_LABEL, is_ready, room, takes_room};
pub use pin::{is_gated, open};
pub use pod::index;
pub use reading::{Achieved, Locals};
pub use situation::{
    AppPod, Avoided, Data, DataState, Locality, Mode, Replaceable, Reserved, Situation, Split,
    Workload,
};
pub use spread::{SpreadNode, spread};
pub use volume::{Claim, Place, Volume, claim_names};
