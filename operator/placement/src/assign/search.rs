//! The search for the cheapest way to a slot for one more task.

use super::cost::{Cost, Whole};
use super::frontier::{Frontier, Step};
use super::places::Places;
use super::seats::Seats;

/// Successive shortest paths: tasks come one by one, and each takes the cheapest path to a free
/// slot. On the way, tasks that are there already change to other choices of theirs. After each
/// path, no assignment of the tasks that have come is better than the present one.
///
/// Every place has a price: a lower bound of what a path from there to a free slot costs. No step
/// costs less than the difference of the prices at its ends. A search that finds a path at the
/// price is over; one that finds none has shown that the places it looked from cost more, raises
/// their prices, and later searches do not look there in vain. Prices never fall.
///
/// Steps count, last of all, because most ways are equally cheap: they cost nothing. Without
/// steps a search for the last free slots would look everywhere; with them, prices tell the
/// direction. A path adds only steps back along itself, and these cost a step as well, so they
/// keep to the prices.
pub(super) struct Search<I> {
    places: Places,
    seats: Seats<I>,
    prices: Vec<Cost<I>>,
    frontier: Frontier<I>,
}

impl<I: Whole> Search<I> {
    /// A search in which no task has a slot yet.
    pub(super) fn new(places: Places, seats: Seats<I>) -> Self {
        Self {
            prices: vec![Cost::default(); places.len()],
            frontier: Frontier::new(places.len()),
            places,
            seats,
        }
    }

    /// Find a slot for one more task.
    pub(super) fn insert(&mut self, task: usize) {
        self.frontier.clear();
        for position in self.seats.positions(task) {
            let choice = self.seats.choice(position);
            self.reach(choice.place(), choice.cost, Step::Enter { task, position });
        }
        while let Some(place) = self.frontier.next() {
            self.look_from(place);
        }
        // There is one: every task can at least be nowhere, unless there are slots for all.
        let Some((goal, cost)) = self.frontier.goal() else {
            return;
        };
        for (place, reached) in self.frontier.seen() {
            if reached < cost {
                self.prices[place] = self.prices[place] + cost - reached;
            }
        }
        self.places.take_slot(goal);
        self.walk_back(goal);
    }

    /// Reach the places that whatever is at a place can change to.
    fn look_from(&mut self, place: usize) {
        let paid = (self.frontier.cost(place) - self.prices[place]).with_step();
        for child in 0..self.places.children(place).len() {
            let child = self.places.children(place)[child];
            self.reach(child, paid, Step::Down);
        }
        if let Some(parent) = self.places.passed_by(place) {
            self.reach(parent, paid, Step::Up { child: place });
        }
        for index in 0..self.seats.present(place).len() {
            let task = self.seats.present(place)[index] as usize;
            let paid = paid - self.seats.taken(task).cost;
            for position in self.seats.positions(task) {
                let choice = self.seats.choice(position);
                let step = Step::Change { task, position };
                self.reach(choice.place(), paid + choice.cost, step);
            }
            if self.frontier.is_over() {
                return;
            }
        }
    }

    fn reach(&mut self, place: usize, paid: Cost<I>, step: Step) {
        let cost = paid + self.prices[place];
        let is_goal = self.places.has_room(place);
        self.frontier.reach(place, cost, step, is_goal);
    }

    /// Make the changes of the path to a place.
    fn walk_back(&mut self, mut place: usize) {
        loop {
            match self.frontier.step(place) {
                Step::Enter { task, position } => {
                    self.seats.take(task, position);
                    return;
                }
                Step::Change { task, position } => {
                    place = self.seats.taken(task).place();
                    self.seats.leave(task);
                    self.seats.take(task, position);
                }
                Step::Down => {
                    self.places.pass_down(place);
                    place = self.places.parent(place);
                }
                Step::Up { child } => {
                    self.places.give_back(child);
                    place = child;
                }
            }
        }
    }

    /// The node of each task, where tasks at zones and at the cluster take slots in a given order.
    pub(super) fn settle(mut self, order: &[usize]) -> Vec<Option<usize>> {
        let mut nodes = vec![None; order.len()];
        for &task in order {
            nodes[task] = self.places.settle(self.seats.taken(task).place());
        }
        nodes
    }
}
