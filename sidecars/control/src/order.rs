use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Slot;

/// Highest step of the term that a slot obeys in one order; a larger one is refused and reported.
pub const MAX_TERM_STEP: u64 = 1_000;

/// What the operator wants of the two slots of one sidecar in one pod: the value of the pod's
/// annotation [`crate::layout::order_annotation`], and the file [`crate::layout::ORDER_FILE`].
///
/// It is also the operator's only record of a swap in progress, so that a new leader can go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// Version of this form: 1.
    pub v: u32,
    /// Rises with every order that changes the active slot. An order acts once, when its term is
    /// higher than the recorded one.
    pub term: u64,
    /// The slot that is to serve.
    pub active: Slot,
    /// Hash of the document that each slot is to use.
    pub config: PerSlot<String>,
    /// Revision of the image that each slot has in the pod's spec.
    pub revision: PerSlot<String>,
    /// Admin port of each slot.
    pub admin: PerSlot<u16>,
    /// Where the swap stands.
    pub phase: Phase,
    /// Start of the phase, RFC 3339, UTC.
    pub since: String,
    /// Whether the sidecar has one container only, named like itself: an image that is not built on
    /// the chassis. Then `active` is a, the admin ports are 0, and what is said of slot b repeats a.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub single: bool,
    /// While a slot's image is being replaced: the ID of the container that must end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// What the operator has to remember of the pod; slots have no use for it.
    #[serde(default, skip_serializing_if = "Notes::is_empty")]
    pub notes: Notes,
}

/// What the operator remembers of a sidecar in a pod beyond its swap.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notes {
    /// What the slots had answered at the end of the last soak.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub soaked: Option<Soaked>,
    /// The slots whose image somebody else changed and that got theirs back since the last swap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corrected: Vec<Slot>,
}

impl Notes {
    fn is_empty(&self) -> bool {
        *self == Notes::default()
    }
}

/// What both slots had answered when a soak ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Soaked {
    /// The slot with the new image.
    pub new: Answered,
    /// The slot with the former one, since its worker was started.
    pub old: Answered,
}

/// Numbers of answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    /// All of them.
    pub all: u64,
    /// Those with a 5xx status.
    pub errors: u64,
}

/// The annotation does not hold an order that this version understands.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOrder {
    /// Not JSON of the expected form.
    #[error("order is not readable: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// Written by another version of the operator.
    #[error("order has version {found}; allowed is 1")]
    Version {
        /// The version found.
        found: u32,
    },
}

impl Order {
    /// Version of the form that this crate reads and writes.
    pub const VERSION: u32 = 1;

    /// Reads the annotation's value.
    pub fn parse(text: &str) -> Result<Order, InvalidOrder> {
        let order: Order = serde_json::from_str(text)?;
        match order.v {
            Order::VERSION => Ok(order),
            found => Err(InvalidOrder::Version { found }),
        }
    }

    /// The annotation's value: compact JSON.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// A value for each slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerSlot<T> {
    /// Of slot a.
    pub a: T,
    /// Of slot b.
    pub b: T,
}

impl<T: Clone> PerSlot<T> {
    /// The same value for both slots.
    pub fn both(value: T) -> PerSlot<T> {
        PerSlot {
            a: value.clone(),
            b: value,
        }
    }
}

impl<T> PerSlot<T> {
    /// The value of a slot.
    pub fn of(&self, slot: Slot) -> &T {
        match slot {
            Slot::A => &self.a,
            Slot::B => &self.b,
        }
    }

    /// The value of a slot, to change.
    pub fn of_mut(&mut self, slot: Slot) -> &mut T {
        match slot {
            Slot::A => &mut self.a,
            Slot::B => &mut self.b,
        }
    }
}

/// Where a pod's swap stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// No swap: both slots have the same revision.
    Rest,
    /// The standby's image has been replaced; its new container is awaited.
    PatchStandby,
    /// The new standby loads its configuration and connects to its store.
    Warm,
    /// The order to become active has been given.
    Handover,
    /// The new slot serves; the old one, still on its image, is ready to take over.
    Soak,
    /// The old slot's image has been replaced; its new container is awaited.
    PatchOld,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Orders changes of the active slot within a pod: first by the operator's term, then by the
/// rescues that the pod decided itself.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Pair {
    /// Term of the last order that acted.
    pub term: u64,
    /// Takeovers that the pod decided itself since that order.
    pub takeover: u64,
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.takeover)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> Order {
        Order {
            v: Order::VERSION,
            term: 3,
            active: Slot::B,
            config: PerSlot::both("00ff".into()),
            revision: PerSlot {
                a: "orders-1".into(),
                b: "orders-2".into(),
            },
            admin: PerSlot { a: 15020, b: 15021 },
            phase: Phase::Soak,
            since: "2026-01-01T00:00:00Z".into(),
            single: false,
            replaced: None,
            notes: Notes::default(),
        }
    }

    #[test]
    fn an_order_survives_its_annotation() {
        let text = order().to_json().unwrap();
        assert_eq!(Order::parse(&text).unwrap(), order());
        assert!(!text.contains("replaced"));
    }

    #[test]
    fn an_order_of_another_version_is_refused_by_name() {
        let text = order().to_json().unwrap().replace("\"v\":1", "\"v\":2");
        assert_eq!(
            Order::parse(&text).unwrap_err().to_string(),
            "order has version 2; allowed is 1"
        );
    }

    #[test]
    fn a_term_outranks_any_number_of_takeovers() {
        let rescued = Pair {
            term: 1,
            takeover: 9,
        };
        let ordered = Pair {
            term: 2,
            takeover: 0,
        };
        assert!(ordered > rescued);
    }
}
