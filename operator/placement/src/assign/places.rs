//! Where tasks can be: nodes, zones, the cluster, nowhere.

use super::NodeSlots;

/// A tree of places: the cluster, its zones, their nodes. Beside it is `nowhere`, for tasks that
/// get no slot.
///
/// A task to which all nodes of a zone are alike is at the zone. It takes a slot of one of them,
/// but it is left open which task takes which slot: the zone only counts how many it has passed
/// down to each node. Any of them can be given back for a slot of another node. The cluster does
/// so with its zones.
///
/// A slot that is taken is never free again; what changes is who takes it.
pub(super) struct Places {
    nodes: usize,
    parent: Vec<Option<usize>>,
    children: Vec<Vec<usize>>,
    /// Free slots at and below each place.
    free: Vec<u64>,
    /// How many tasks the parent has passed down to each place.
    passed: Vec<u32>,
    /// How many of the nodes below each place, counted from the first, are known to be full.
    full: Vec<usize>,
    /// How many of the children of each place have nothing left to settle.
    settled: Vec<usize>,
}

impl Places {
    /// How many places there are with some nodes.
    pub(super) fn count(nodes: &[NodeSlots]) -> usize {
        let zones = nodes.iter().map(|node| node.zone + 1).max();
        nodes.len() + zones.unwrap_or(0) + 2
    }

    pub(super) fn new(nodes: &[NodeSlots]) -> Self {
        let count = Self::count(nodes);
        let mut places = Self {
            nodes: nodes.len(),
            parent: vec![None; count],
            children: vec![Vec::new(); count],
            free: vec![0; count],
            passed: vec![0; count],
            full: vec![0; count],
            settled: vec![0; count],
        };
        let (cluster, nowhere) = (places.cluster(), places.nowhere());
        for (node, &NodeSlots { slots, zone }) in nodes.iter().enumerate() {
            let zone = places.zone(zone);
            places.parent[node] = Some(zone);
            places.parent[zone] = Some(cluster);
            places.children[zone].push(node);
            for place in [node, zone, cluster] {
                places.free[place] += u64::from(slots);
            }
        }
        places.children[cluster] = (places.nodes..cluster).collect();
        places.free[nowhere] = u64::MAX;
        places
    }

    pub(super) fn len(&self) -> usize {
        self.parent.len()
    }

    pub(super) fn zones(&self) -> usize {
        self.cluster() - self.nodes
    }

    pub(super) fn zone(&self, zone: usize) -> usize {
        self.nodes + zone
    }

    pub(super) fn cluster(&self) -> usize {
        self.len() - 2
    }

    pub(super) fn nowhere(&self) -> usize {
        self.len() - 1
    }

    pub(super) fn free_slots(&self) -> u64 {
        self.free[self.cluster()]
    }

    /// Whether a slot is free at or below a place.
    pub(super) fn has_room(&self, place: usize) -> bool {
        self.free[place] > 0
    }

    pub(super) fn parent(&self, place: usize) -> usize {
        self.parent[place].unwrap_or(place)
    }

    pub(super) fn children(&self, place: usize) -> &[usize] {
        &self.children[place]
    }

    /// The parent of a place, if it has passed tasks down to it.
    pub(super) fn passed_by(&self, place: usize) -> Option<usize> {
        self.parent[place].filter(|_| self.passed[place] > 0)
    }

    /// The parent of a place passes one more task down to it.
    pub(super) fn pass_down(&mut self, place: usize) {
        self.passed[place] += 1;
    }

    /// A place gives a task back to its parent.
    pub(super) fn give_back(&mut self, place: usize) {
        self.passed[place] -= 1;
    }

    /// Take a free slot at or below a place, that of the first node that has one.
    pub(super) fn take_slot(&mut self, place: usize) {
        if place == self.nowhere() {
            return;
        }
        let node = self.first_free(place);
        let mut below = true;
        let mut next = Some(node);
        while let Some(here) = next {
            self.free[here] -= 1;
            below &= here != place;
            if below {
                self.pass_down(here);
            }
            next = self.parent[here];
        }
    }

    fn first_free(&mut self, place: usize) -> usize {
        loop {
            let full = self.full[place];
            let node = match place {
                _ if place < self.nodes => place,
                _ if place == self.cluster() => full,
                zone => self.children[zone][full],
            };
            if self.free[node] > 0 {
                return node;
            }
            self.full[place] += 1;
        }
    }

    /// The node whose slot a task at some place gets in the end: at zones and at the cluster the
    /// next of those that were passed down.
    pub(super) fn settle(&mut self, place: usize) -> Option<usize> {
        if place == self.nowhere() {
            return None;
        }
        let mut place = place;
        while place >= self.nodes {
            let child = *self.children[place].get(self.settled[place])?;
            match self.passed[child] {
                0 => self.settled[place] += 1,
                _ => {
                    self.give_back(child);
                    place = child;
                }
            }
        }
        Some(place)
    }
}
