//! Which task is where, and where else it could be.

use std::ops::Range;

use super::cost::{Cost, Whole};

/// The choices of all tasks, and which of them each has taken.
pub(super) struct Seats<I> {
    /// Of all tasks, one after the other.
    choices: Vec<Choice<I>>,
    tasks: Vec<Seat>,
    /// The tasks at each place, in no order.
    present: Vec<Vec<u32>>,
}

#[derive(Clone, Copy)]
pub(super) struct Choice<I> {
    pub(super) cost: Cost<I>,
    place: u32,
}

#[derive(Clone, Copy)]
struct Seat {
    /// Where the task's choices begin and end.
    first: u32,
    end: u32,
    /// The one that it has taken.
    taken: u32,
    /// Where the task is among those that are present at the place.
    index: u32,
}

impl<I> Choice<I> {
    pub(super) fn place(&self) -> usize {
        self.place as usize
    }
}

impl<I: Whole> Seats<I> {
    pub(super) fn new(places: usize) -> Self {
        Self {
            choices: Vec::new(),
            tasks: Vec::new(),
            present: vec![Vec::new(); places],
        }
    }

    /// One more task, which is nowhere yet.
    pub(super) fn add_task(&mut self, choices: &[(usize, Cost<I>)]) {
        let first = self.choices.len() as u32;
        self.choices
            .extend(choices.iter().map(|&(place, cost)| Choice {
                cost,
                place: place as u32,
            }));
        self.tasks.push(Seat {
            first,
            end: self.choices.len() as u32,
            taken: u32::MAX,
            index: u32::MAX,
        });
    }

    /// The positions of a task's choices among those of all tasks.
    pub(super) fn positions(&self, task: usize) -> Range<usize> {
        let Seat { first, end, .. } = self.tasks[task];
        first as usize..end as usize
    }

    pub(super) fn choice(&self, position: usize) -> Choice<I> {
        self.choices[position]
    }

    pub(super) fn least_cost(&self, task: usize) -> Option<Cost<I>> {
        let choices = &self.choices[self.positions(task)];
        choices.iter().map(|choice| choice.cost).min()
    }

    pub(super) fn present(&self, place: usize) -> &[u32] {
        &self.present[place]
    }

    /// The choice that a task has taken.
    pub(super) fn taken(&self, task: usize) -> Choice<I> {
        self.choices[self.tasks[task].taken as usize]
    }

    /// Let a task take one of its choices.
    pub(super) fn take(&mut self, task: usize, position: usize) {
        let present = &mut self.present[self.choices[position].place()];
        let seat = &mut self.tasks[task];
        seat.taken = position as u32;
        seat.index = present.len() as u32;
        present.push(task as u32);
    }

    /// Let a task leave the choice that it has taken.
    pub(super) fn leave(&mut self, task: usize) {
        let Seat { taken, index, .. } = self.tasks[task];
        let present = &mut self.present[self.choices[taken as usize].place()];
        present.swap_remove(index as usize);
        if let Some(&moved) = present.get(index as usize) {
            self.tasks[moved as usize].index = index;
        }
    }
}
