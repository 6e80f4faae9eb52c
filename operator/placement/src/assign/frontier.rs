//! How far one search has come.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::cost::{Cost, Whole};

/// The places that a search has reached, each with its cost: what the path to it has paid, and the
/// price that is still to be paid from there. That is never more than any path through it to a
/// free slot costs in the end, so the first free slot that is no dearer than all places not looked
/// from is the cheapest.
pub(super) struct Frontier<I> {
    reached: Vec<Reached<I>>,
    search: u32,
    /// Places to look from, the cheapest first, and of equal ones the first.
    next: BinaryHeap<Reverse<(Cost<I>, usize)>>,
    /// The places that were looked from.
    seen: Vec<usize>,
    /// The cost of the last of them.
    level: Cost<I>,
    /// The cheapest place with a free slot.
    goal: Option<usize>,
}

#[derive(Clone, Copy)]
struct Reached<I> {
    /// The search that the rest is about.
    search: u32,
    cost: Cost<I>,
    step: Step,
}

/// The last step of a path.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// The new task takes a choice of its own.
    Enter { task: usize, position: usize },
    /// A task takes another choice of its own.
    Change { task: usize, position: usize },
    /// A place is passed one more task by its parent.
    Down,
    /// A place gets back one that it had passed to a child.
    Up { child: usize },
}

impl<I: Whole> Frontier<I> {
    pub(super) fn new(places: usize) -> Self {
        let unreached = Reached {
            search: 0,
            cost: Cost::default(),
            step: Step::Down,
        };
        Self {
            reached: vec![unreached; places],
            search: 0,
            next: BinaryHeap::new(),
            seen: Vec::new(),
            level: Cost::default(),
            goal: None,
        }
    }

    pub(super) fn clear(&mut self) {
        self.search += 1;
        self.next.clear();
        self.seen.clear();
        self.goal = None;
    }

    /// A path has come to a place.
    #[inline]
    pub(super) fn reach(&mut self, place: usize, cost: Cost<I>, step: Step, has_room: bool) {
        let search = self.search;
        let reached = &mut self.reached[place];
        if reached.search == search && reached.cost <= cost {
            return;
        }
        if let Some(goal) = self.goal
            && self.reached[goal].cost <= cost
        {
            return;
        }
        self.reached[place] = Reached { search, cost, step };
        match has_room {
            true => self.goal = Some(place),
            false => self.next.push(Reverse((cost, place))),
        }
    }

    /// The next place to look from; none if no path through any can be cheaper than the goal.
    pub(super) fn next(&mut self) -> Option<usize> {
        while let Some(Reverse((cost, place))) = self.next.pop() {
            if self.goal().is_some_and(|(_, goal)| goal <= cost) {
                return None;
            }
            // Not if a cheaper path was found meanwhile: the place was looked from already.
            if self.cost(place) == cost {
                self.level = cost;
                self.seen.push(place);
                return Some(place);
            }
        }
        None
    }

    /// Whether no cheaper goal can be found from the place that is looked from.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.goal().is_some_and(|(_, cost)| cost <= self.level)
    }

    #[inline]
    pub(super) fn goal(&self) -> Option<(usize, Cost<I>)> {
        self.goal.map(|goal| (goal, self.cost(goal)))
    }

    #[inline]
    pub(super) fn cost(&self, place: usize) -> Cost<I> {
        self.reached[place].cost
    }

    pub(super) fn step(&self, place: usize) -> Step {
        self.reached[place].step
    }

    /// The places that were looked from, with their costs.
    pub(super) fn seen(&self) -> impl Iterator<Item = (usize, Cost<I>)> {
        self.seen.iter().map(|&place| (place, self.cost(place)))
    }
}
