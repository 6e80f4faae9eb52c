//! Which node each gated pod gets.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::assign::{NodeSlots, Task, assign};
use crate::board::Board;
use crate::eligible::Needs;
use crate::pod::{Stage, View};
use crate::reading::{Library, Reading};
use crate::spread::{SpreadNode, spread};
use crate::{Mode, Situation, Workload};

/// A gated pod that is to get a node.
pub(crate) struct Candidate<'a> {
    pub(crate) view: &'a View<'a>,
    pub(crate) needs: Needs<'a>,
    /// Pods that read the same share it.
    pub(crate) reading: Rc<Reading<'a>>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn of(view: &'a View<'a>, library: &Library<'a>) -> Candidate<'a> {
        Candidate {
            view,
            needs: Needs::of(&view.app.pod, &view.app.claims),
            reading: library.shared(view.index),
        }
    }

    fn order(&self) -> impl Ord + '_ {
        let View {
            index,
            created,
            name,
            ..
        } = self.view;
        (index.unwrap_or(u32::MAX), *created, name)
    }
}

/// Gives each candidate the position of a node, as far as there is room on nodes that hold data, or
/// that are in a zone with data.
///
/// Pods of one template that read the same and may run on the same nodes are replicas: they are
/// spread as counts per node, planned for as many as are wanted. Pods that read by index, or whose
/// own volumes tie them, are tasks: they are assigned one by one, together with those of lower
/// indexes that do not exist yet, so that who comes first does not matter.
pub(crate) fn plan<'a>(
    situation: &Situation,
    views: &'a [View<'a>],
    library: &Library<'a>,
    board: &mut Board<'a>,
    candidates: &[Candidate<'a>],
) -> Vec<Option<usize>> {
    let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, candidate) in candidates.iter().enumerate() {
        let group = groups.entry(candidate.view.template).or_default();
        group.push(position);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(template, members)| {
        let oldest = members
            .iter()
            .map(|member| candidates[*member].view.created);
        (oldest.min(), *template)
    });
    let mut planned = vec![None; candidates.len()];
    for (template, mut members) in groups {
        members.sort_by(|one, other| candidates[*one].order().cmp(&candidates[*other].order()));
        let group = Group {
            situation,
            library,
            placed: views
                .iter()
                .filter(|view| view.template == template)
                .collect(),
        };
        let (tasks, replicas): (Vec<usize>, Vec<usize>) = members
            .into_iter()
            .partition(|member| group.is_task(&candidates[*member]));
        let tasks: Vec<_> = tasks
            .into_iter()
            .filter(|member| gains(board, &candidates[*member]))
            .collect();
        group.assign(board, candidates, &tasks, &mut planned);
        group.spread(board, candidates, &replicas, &mut planned);
    }
    planned
}

/// The pods of one template.
struct Group<'a, 'b> {
    situation: &'b Situation,
    library: &'b Library<'a>,
    placed: Vec<&'a View<'a>>,
}

impl<'a> Group<'a, '_> {
    fn is_task(&self, candidate: &Candidate<'_>) -> bool {
        let by_index = self.library.by_index() && candidate.view.index.is_some();
        by_index || candidate.needs.tied_by_claims()
    }

    fn assign(
        &self,
        board: &mut Board<'a>,
        candidates: &[Candidate<'a>],
        members: &[usize],
        planned: &mut [Option<usize>],
    ) {
        let Some(first) = members.first().map(|member| &candidates[*member]) else {
            return;
        };
        let tied = members
            .iter()
            .any(|member| candidates[*member].needs.tied_by_claims());
        let common = (!tied).then_some(&first.needs);
        let zones = zones(board);
        let nodes: Vec<_> = (0..board.nodes.len())
            .map(|node| {
                let pod = &first.view.app.pod;
                let open = common.is_none_or(|needs| board.allows(needs, node));
                NodeSlots {
                    slots: if open {
                        board.slots(pod, &first.needs, node)
                    } else {
                        0
                    },
                    zone: zones.of_node[node],
                }
            })
            .collect();
        let room: u64 = nodes.iter().map(|node| u64::from(node.slots)).sum();
        // Those that found no room near their data take some elsewhere.
        let enough = self.situation.locality.threshold_bytes;
        let elsewhere = |view: &&&'a View<'a>| {
            let explanation = view.valid_explanation();
            let let_go = view.stage == Stage::Released
                && explanation.is_some_and(|explanation| explanation.node.is_none());
            let candidate = let_go.then(|| Candidate::of(view, self.library));
            candidate.is_some_and(|found| found.reading.bytes >= enough && gains(board, &found))
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let room = room.saturating_sub(self.placed.iter().filter(elsewhere).count());
        // Those that find no room wait for another decision, lowest indexes first.
        let mut tasks: Vec<_> = members
            .iter()
            .take(room)
            .map(|member| {
                let Candidate { needs, reading, .. } = &candidates[*member];
                let allowed = tied.then(|| {
                    let open = |node: &usize| board.allows(needs, *node);
                    (0..board.nodes.len()).filter(open).collect()
                });
                task(board, &zones, reading, allowed)
            })
            .collect();
        if !tied {
            let own: BTreeSet<_> = members
                .iter()
                .filter_map(|m| candidates[*m].view.index)
                .collect();
            let to_come = self.to_come(&own).take(room.saturating_sub(tasks.len()));
            let to_come = to_come.map(|index| self.library.reading(Some(index)));
            tasks.extend(to_come.map(|reading| task(board, &zones, &reading, None)));
        }
        let assigned = assign(&tasks, &nodes).nodes;
        // A node that holds nothing of a task, in a zone with nothing of it, is as good as any other.
        let near = |(task, node): (&Task, Option<usize>)| {
            node.filter(|node| task.on(*node, &nodes) > (0, 0))
        };
        let assigned = tasks.iter().zip(assigned).map(near);
        // A zone is not near enough for a pod that has to be near its data.
        let zones_count = self.situation.locality.mode == Mode::Preferred;
        for (member, node) in members.iter().zip(assigned) {
            let Candidate {
                view,
                needs,
                reading,
            } = &candidates[*member];
            let counts = |node: &usize| zones_count || reading.on(&board.nodes[*node].name) > 0;
            if let Some(node) = node.filter(counts) {
                board.place(&view.app.pod, needs, node);
                planned[*member] = Some(node);
            }
        }
    }

    /// The indexes of pods that will come while these run, lowest first.
    fn to_come(&self, own: &BTreeSet<u32>) -> impl Iterator<Item = u32> {
        let placed = self.placed.iter();
        let running = placed.clone().filter(|view| view.is_placed()).count();
        let there = placed.filter(|view| view.is_placed() || view.stage == Stage::Succeeded);
        let there: BTreeSet<_> = there
            .filter_map(|view| view.index)
            .chain(own.iter().copied())
            .collect();
        let (indexes, most) = match self.situation.workload {
            Workload::Replicas { replicas, start } => {
                (start..start.saturating_add(replicas), usize::MAX)
            }
            Workload::Indexed {
                completions,
                parallelism,
            } => {
                let most = (parallelism as usize).saturating_sub(running + own.len());
                (0..completions, most)
            }
            Workload::Unknown => (0..0, 0),
        };
        indexes
            .filter(move |index| !there.contains(index))
            .take(most)
    }

    fn spread(
        &self,
        board: &mut Board<'a>,
        candidates: &[Candidate<'a>],
        members: &[usize],
        planned: &mut [Option<usize>],
    ) {
        let Some(first) = members.first().map(|member| &candidates[*member]) else {
            return;
        };
        let holders: Vec<usize> = first
            .reading
            .holders()
            .into_iter()
            .filter_map(|holder| board.position(holder))
            .filter(|node| board.allows(&first.needs, *node))
            .collect();
        let mut occupied: BTreeMap<usize, u32> = BTreeMap::new();
        let mut running = 0u32;
        for view in self.placed.iter().filter(|view| view.is_placed()) {
            running += 1;
            if let Some(node) = view.node().and_then(|node| board.position(node)) {
                *occupied.entry(node).or_default() += 1;
            }
        }
        let on_holders: u32 = holders.iter().filter_map(|node| occupied.get(node)).sum();
        let gated = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let desired = match self.situation.workload {
            Workload::Replicas { replicas, .. } => replicas,
            Workload::Indexed { parallelism, .. } => parallelism,
            Workload::Unknown => 0,
        };
        let wanted = desired.max(running.saturating_add(gated)) - (running - on_holders);
        let nodes: Vec<_> = holders
            .iter()
            .map(|&node| SpreadNode {
                bytes: first.reading.weight_of(&board.nodes[node].name),
                slots: board.slots(&first.view.app.pod, &first.needs, node),
                placed: occupied.get(&node).copied().unwrap_or(0),
            })
            .collect();
        let counts = spread(&nodes, wanted, self.situation.locality.max_skew);
        // Lower counts first, so that the bound on the skew holds after each pod and what is planned
        // next is the rest of this plan; then the nodes that hold most, as they are in `holders`.
        let ranked = holders.iter().zip(&nodes).zip(counts);
        let ranked = ranked.flat_map(|((&node, found), count)| {
            (found.placed..count).map(move |rank| (rank, node))
        });
        let mut places: Vec<_> = ranked.collect();
        places.sort_by_key(|(rank, _)| *rank);
        let places = places.into_iter().map(|(_, node)| node);
        for (member, node) in members.iter().zip(places) {
            let Candidate { view, needs, .. } = &candidates[*member];
            board.place(&view.app.pod, needs, node);
            planned[*member] = Some(node);
        }
    }
}

/// Whether some node that may run a candidate is near its data.
fn gains(board: &Board<'_>, candidate: &Candidate<'_>) -> bool {
    let Candidate { needs, reading, .. } = candidate;
    let open = |node: usize| board.allows(needs, node);
    let mut holders = reading.holders().into_iter();
    let near = holders.any(|holder| board.position(holder).is_some_and(open));
    let zones = &reading.weighed.zones;
    let in_zone = |node: &usize| {
        let zone = board.nodes[*node].zone();
        zone.and_then(|zone| zones.get(zone))
            .is_some_and(|bytes| *bytes > 0)
    };
    near || (!zones.is_empty() && (0..board.nodes.len()).filter(in_zone).any(open))
}

/// Zones by number. Nodes without one share the last.
struct Zones<'a> {
    numbers: BTreeMap<&'a str, usize>,
    of_node: Vec<usize>,
}

fn zones<'a>(board: &Board<'a>) -> Zones<'a> {
    let names: BTreeSet<&str> = board.nodes.iter().filter_map(|node| node.zone()).collect();
    let numbers: BTreeMap<_, _> = names.into_iter().zip(0..).collect();
    let number = |zone: Option<&str>| {
        zone.and_then(|zone| numbers.get(zone).copied())
            .unwrap_or(numbers.len())
    };
    let of_node = board.nodes.iter().map(|node| number(node.zone())).collect();
    Zones { numbers, of_node }
}

fn task(
    board: &Board<'_>,
    zones: &Zones<'_>,
    reading: &Reading<'_>,
    allowed: Option<BTreeSet<usize>>,
) -> Task {
    // What is beyond that counts alike.
    const MOST: u64 = (1 << 62) - 1;
    let weighed = &reading.weighed;
    let local = weighed.local.iter();
    let local = local.filter_map(|(node, bytes)| Some((board.position(node)?, (*bytes).min(MOST))));
    let in_zones = weighed.zones.iter();
    let in_zones =
        in_zones.filter_map(|(zone, bytes)| Some((*zones.numbers.get(zone)?, (*bytes).min(MOST))));
    Task {
        bytes: weighed.bytes.min(MOST),
        local: local.collect(),
        zones: in_zones.collect(),
        allowed,
    }
}
