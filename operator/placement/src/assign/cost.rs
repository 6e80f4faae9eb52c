//! What a choice costs.

use std::fmt::Debug;
use std::ops::{Add, Sub};

/// What a path costs: the bytes that are then read from other nodes; where these are equal those
/// from other zones; where these are equal the number of steps.
///
/// Such triples can be added, subtracted and compared like numbers, and the search needs nothing
/// else. So all goals are reached in one run, and none is scaled into another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost<I> {
    remote: I,
    off_zone: I,
    steps: i32,
}

impl<I: Whole> Cost<I> {
    /// Of a node that holds some bytes, and has some in its zone. It is negative: what counts is
    /// by how much choices differ.
    pub(super) fn saving(local: u64, zone: u64) -> Self {
        Self {
            remote: I::default() - I::from_bytes(local),
            off_zone: I::default() - I::from_bytes(zone),
            steps: 0,
        }
    }

    /// Of no slot: more than other tasks can save by any changes.
    pub(super) fn nowhere() -> Self {
        Self {
            remote: I::NOWHERE,
            ..Self::default()
        }
    }

    pub(super) fn with_step(self) -> Self {
        Self {
            steps: self.steps + 1,
            ..self
        }
    }
}

impl<I: Whole> Add for Cost<I> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            remote: self.remote + other.remote,
            off_zone: self.off_zone + other.off_zone,
            steps: self.steps + other.steps,
        }
    }
}

impl<I: Whole> Sub for Cost<I> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            remote: self.remote - other.remote,
            off_zone: self.off_zone - other.off_zone,
            steps: self.steps - other.steps,
        }
    }
}

/// Integers wide enough for the costs of a problem: `i64` for nearly all, `i128` for all.
pub(super) trait Whole:
    Copy + Debug + Default + Ord + Add<Output = Self> + Sub<Output = Self>
{
    /// More than a path through all places can save.
    const NOWHERE: Self;

    /// Whether no sum can overflow if no task holds more than `largest` bytes anywhere.
    ///
    /// A path goes through each place once at most, so it is within twice the largest bytes for
    /// each, and `NOWHERE` once.
    fn fits(largest: u64, places: usize) -> bool;

    fn from_bytes(bytes: u64) -> Self;
}

impl Whole for i64 {
    const NOWHERE: Self = 1 << 61;

    fn fits(largest: u64, places: usize) -> bool {
        u128::from(largest) * 2 * (places as u128 + 2) < 1 << 60
    }

    fn from_bytes(bytes: u64) -> Self {
        bytes as Self
    }
}

impl Whole for i128 {
    const NOWHERE: Self = 1 << 100;

    fn fits(_: u64, _: usize) -> bool {
        true
    }

    fn from_bytes(bytes: u64) -> Self {
        Self::from(bytes)
    }
}
