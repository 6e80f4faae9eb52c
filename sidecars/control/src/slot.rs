use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// One of the two places in a pod where a sidecar's image runs. The slot's container is `NAME-a` or `NAME-b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The slot that is active when a pod starts.
    A,
    /// The slot that is standby when a pod starts.
    B,
}

impl Slot {
    /// Both slots, in the order of their containers.
    pub const BOTH: [Slot; 2] = [Slot::A, Slot::B];

    /// The other slot of the same sidecar.
    pub fn peer(self) -> Slot {
        match self {
            Slot::A => Slot::B,
            Slot::B => Slot::A,
        }
    }

    /// `a` or `b`.
    pub fn as_str(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }

    /// Name of the slot's container, e.g. `orders-a`.
    pub fn container(self, sidecar: &str) -> String {
        format!("{sidecar}-{self}")
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is not the name of a slot.
#[derive(Debug, thiserror::Error)]
#[error("slot is {0:?}; allowed are \"a\" and \"b\"")]
pub struct UnknownSlot(String);

impl FromStr for Slot {
    type Err = UnknownSlot;

    fn from_str(text: &str) -> Result<Slot, UnknownSlot> {
        match text {
            "a" => Ok(Slot::A),
            "b" => Ok(Slot::B),
            other => Err(UnknownSlot(other.to_owned())),
        }
    }
}
