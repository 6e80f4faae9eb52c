//! The nodes, with the room that is left while pods are given theirs.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::core::{Selector, SelectorExt};
use outrigger_resources::Amounts;

use crate::eligible::Needs;
use crate::node::slots;
use crate::pod::{Stage, View};
use crate::{Avoided, Excluded, HOSTNAME_LABEL, Node, Situation};

/// The nodes by name, with the room that is left.
pub(crate) struct Board<'a> {
    pub(crate) nodes: Vec<&'a Node>,
    index: BTreeMap<&'a str, usize>,
    /// What is free on each node at the start of the decision.
    start: Vec<Amounts>,
    /// What is free on each node now.
    free: Vec<Amounts>,
    /// The pods of the application that are on each node, or were sent there.
    there: Vec<Vec<&'a Pod>>,
    avoided: BTreeMap<&'a str, &'a Avoided>,
}

impl<'a> Board<'a> {
    /// The board before anything is decided: without the room of pods that were released and are
    /// not bound yet.
    pub(crate) fn new(
        situation: &'a Situation,
        views: &'a [View<'a>],
        replaced: &BTreeSet<&str>,
        avoided: &'a [Avoided],
    ) -> Board<'a> {
        let mut nodes: Vec<_> = situation.nodes.iter().collect();
        nodes.sort_by_key(|node| &node.name);
        let index = nodes.iter().enumerate();
        let index = index
            .map(|(index, node)| (node.name.as_str(), index))
            .collect();
        let free: Vec<_> = nodes.iter().map(|node| node.free.clone()).collect();
        let mut board = Board {
            there: vec![Vec::new(); nodes.len()],
            start: Vec::new(),
            nodes,
            index,
            free,
            avoided: avoided
                .iter()
                .map(|avoided| (avoided.node.as_str(), avoided))
                .collect(),
        };
        let mut counted = BTreeSet::new();
        for reserved in &situation.reserved {
            if !replaced.contains(reserved.pod_uid.as_str())
                && counted.insert(reserved.pod_uid.as_str())
                && let Some(&node) = board.index.get(reserved.node.as_str())
            {
                board.free[node].subtract(&reserved.requests);
            }
        }
        for view in views
            .iter()
            .filter(|view| !replaced.contains(view.uid.as_str()))
        {
            let Some(node) = view.node().and_then(|node| board.position(node)) else {
                continue;
            };
            board.there[node].push(&view.app.pod);
            if view.stage == Stage::Released && counted.insert(&view.uid) {
                board.free[node].subtract(&crate::room(&view.app.pod));
            }
        }
        board.start = board.free.clone();
        board
    }

    /// The position of a node.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Whether nothing but a lack of room can rule a node out.
    pub(crate) fn allows(&self, needs: &Needs<'_>, node: usize) -> bool {
        let node = self.nodes[node];
        self.avoided(node).is_none() && needs.allows(node)
    }

    /// Whether nothing ruled a node out at the start of the decision.
    pub(crate) fn was_open(&self, pod: &Pod, needs: &Needs<'_>, node: &str) -> bool {
        self.position(node).is_some_and(|node| {
            self.allows(needs, node)
                && needs.lacking(&self.start[node]).is_none()
                && self.may_join(pod, node)
        })
    }

    /// What ruled a node out at the start of the decision.
    pub(crate) fn excluded(&self, pod: &Pod, needs: &Needs<'_>, node: &str) -> Option<Excluded> {
        let Some(position) = self.position(node) else {
            return Some(Excluded::Gone);
        };
        let node = self.nodes[position];
        let avoided = || {
            let reason = self.avoided(node)?.reason.clone();
            Some(Excluded::Avoided { reason })
        };
        let alone = || (!self.may_join(pod, position)).then_some(Excluded::NotAlone);
        needs
            .rules_out(node)
            .or_else(avoided)
            .or_else(|| needs.lacks_room(&self.start[position]))
            .or_else(alone)
    }

    fn avoided(&self, node: &Node) -> Option<&'a Avoided> {
        let avoided = self.avoided.get(node.name.as_str()).copied();
        avoided.filter(|avoided| avoided.node_uid == node.uid)
    }

    /// How many pods like this one the node has room for now.
    pub(crate) fn slots(&self, pod: &Pod, needs: &Needs<'_>, node: usize) -> u32 {
        let slots = slots(&self.free[node], &needs.room);
        match keeps_apart(pod) {
            true if self.may_join(pod, node) => slots.min(1),
            true => 0,
            false => slots,
        }
    }

    /// Gives a pod its place on a node.
    pub(crate) fn place(&mut self, pod: &'a Pod, needs: &Needs<'_>, node: usize) {
        self.free[node].subtract(&needs.room);
        self.there[node].push(pod);
    }

    /// Whether the pod's anti-affinity lets it be beside the application's pods on the node.
    fn may_join(&self, pod: &Pod, node: usize) -> bool {
        let there = &self.there[node];
        !selectors(pod).any(|apart| there.iter().any(|other| apart.matches(other.labels())))
    }
}

/// Whether two pods like this one may not be on one node.
fn keeps_apart(pod: &Pod) -> bool {
    selectors(pod).any(|apart| apart.matches(pod.labels()))
}

/// Which pods this one must not be on one node with.
fn selectors(pod: &Pod) -> impl Iterator<Item = Selector> {
    let affinity = pod.spec.as_ref().and_then(|spec| spec.affinity.as_ref());
    let apart = affinity.and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let terms = apart.and_then(|apart| {
        apart
            .required_during_scheduling_ignored_during_execution
            .as_deref()
    });
    let terms = terms.into_iter().flatten();
    let per_node = terms.filter(|term| term.topology_key == HOSTNAME_LABEL);
    per_node.filter_map(|term| term.label_selector.clone()?.try_into().ok())
}
