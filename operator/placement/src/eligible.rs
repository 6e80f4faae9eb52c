//! Which nodes can run a pod, and what rules out the others, as the scheduler sees it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec, Toleration};
use outrigger_resources::Amounts;

use crate::constraint::Constraint;
use crate::taint;
use crate::volume::{Claim, Place};
use crate::{AppPod, Excluded, Node, room};

/// Why no node can run a pod, whatever runs there: its demands exclude each other, or the nodes'
/// taints exclude it too. `None` if a node could, when it is ready and not cordoned.
pub fn conflict(pod: &AppPod, nodes: &[Node]) -> Option<String> {
    const MOST: usize = 3;
    let needs = Needs::of(&pod.pod, &pod.claims);
    if let Some(conflict) = needs.conflict(nodes) {
        return Some(conflict);
    }
    let lasting = |node: &Node| {
        let excluded = needs.rules_out(node)?;
        let passes = matches!(excluded, Excluded::NotReady | Excluded::Cordoned);
        (!passes).then(|| format!("{} ruled out: {excluded}", node.name))
    };
    let mut excluded: Vec<_> = nodes.iter().map(lasting).collect::<Option<_>>()?;
    excluded.sort();
    let more = excluded.len().saturating_sub(MOST);
    excluded.truncate(MOST);
    let told = excluded.join("; ");
    match (told.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(told),
        (false, more) => Some(format!("{told}; and {more} more ruled out")),
    }
}

/// What a pod asks of its node.
pub(crate) struct Needs<'a> {
    spec: Option<&'a PodSpec>,
    claims: &'a [Claim],
    /// What it takes from its node.
    pub(crate) room: Amounts,
}

impl<'a> Needs<'a> {
    pub(crate) fn of(pod: &'a Pod, claims: &'a [Claim]) -> Needs<'a> {
        Needs {
            spec: pod.spec.as_ref(),
            claims,
            room: room(pod),
        }
    }

    /// What rules a node out, whatever else runs there.
    pub(crate) fn rules_out(&self, node: &Node) -> Option<Excluded> {
        if !node.ready {
            return Some(Excluded::NotReady);
        }
        let tolerations = self.tolerations();
        if node.cordoned && !taint::tolerates_cordon(tolerations) {
            return Some(Excluded::Cordoned);
        }
        if let Some(taint) = taint::untolerated(&node.taints, tolerations) {
            let taint = taint::described(taint);
            return Some(Excluded::Taint { taint });
        }
        self.constraints()
            .find_map(|constraint| constraint.rules_out(node))
    }

    /// Whether nothing rules a node out, whatever else runs there; nothing is put into words.
    pub(crate) fn allows(&self, node: &Node) -> bool {
        let tolerations = self.tolerations();
        node.ready
            && (!node.cordoned || taint::tolerates_cordon(tolerations))
            && taint::untolerated(&node.taints, tolerations).is_none()
            && self.constraints().all(|constraint| constraint.allows(node))
    }

    fn tolerations(&self) -> &'a [Toleration] {
        let tolerations = self.spec.and_then(|spec| spec.tolerations.as_deref());
        tolerations.unwrap_or_default()
    }

    /// What rules a node out for lack of room, when so much is free.
    pub(crate) fn lacks_room(&self, free: &Amounts) -> Option<Excluded> {
        let (resource, wanted) = self.lacking(free)?;
        Some(Excluded::NoRoom {
            resource: resource.to_owned(),
            wanted,
        })
    }

    /// The first resource of which more is asked for than is free, and how much is asked for.
    pub(crate) fn lacking(&self, free: &Amounts) -> Option<(&str, i128)> {
        let mut asked = self.room.iter();
        asked.find(|(resource, wanted)| *wanted > free.get(resource).max(0))
    }

    /// Whether a claim rules out some nodes, so that pods of one template differ.
    pub(crate) fn tied_by_claims(&self) -> bool {
        let tied = |claim: &Claim| match &claim.place {
            Place::Lost { .. } => true,
            Place::Bound(volume) => volume.terms.is_some(),
            Place::Missing | Place::BeingBound | Place::NotYetAnywhere { .. } => false,
        };
        self.claims.iter().any(tied)
    }

    /// The claim of which it is not known yet where it will be, and why.
    pub(crate) fn undecided_claim(&self) -> Option<String> {
        self.claims.iter().find_map(|Claim { name, place }| match place {
            Place::Missing => Some(format!("there is no PersistentVolumeClaim {name} yet")),
            Place::BeingBound => Some(format!(
                "PersistentVolumeClaim {name} is not bound yet, and its StorageClass does not wait for the pod"
            )),
            Place::Lost { .. } | Place::NotYetAnywhere { .. } | Place::Bound(_) => None,
        })
    }

    /// Says which demands of the pod no node meets together; `None` if a node meets all of them.
    pub(crate) fn conflict(&self, nodes: &[Node]) -> Option<String> {
        let constraints: Vec<_> = self.constraints().collect();
        let left: Vec<BTreeSet<&str>> = constraints
            .iter()
            .map(|constraint| {
                let matching = nodes.iter().filter(|node| constraint.allows(node));
                matching.map(|node| node.name.as_str()).collect()
            })
            .collect();
        if let Some(lonely) = left.iter().position(BTreeSet::is_empty) {
            return Some(format!("{}, which no node matches", constraints[lonely]));
        }
        for (first, one) in left.iter().enumerate() {
            for (second, other) in left.iter().enumerate().skip(first + 1) {
                if one.is_disjoint(other) {
                    return Some(format!(
                        "{} ({}), but {} ({}): no node matches both",
                        constraints[first],
                        names(one),
                        constraints[second],
                        names(other)
                    ));
                }
            }
        }
        let mut common = left.first()?.clone();
        for set in &left {
            common.retain(|name| set.contains(name));
        }
        let described: Vec<_> = constraints.iter().map(ToString::to_string).collect();
        let all = described.join(", and ");
        common
            .is_empty()
            .then(|| format!("{all}: no node matches all of them"))
    }

    fn constraints(&self) -> impl Iterator<Item = Constraint<'a>> {
        let spec = self.spec;
        let plain = spec.and_then(|spec| spec.node_selector.as_ref());
        let plain = plain
            .filter(|selector| !selector.is_empty())
            .map(Constraint::NodeSelector);
        let terms = spec.and_then(required_terms).map(Constraint::NodeAffinity);
        let claims = self.claims.iter().filter_map(Constraint::of_claim);
        plain.into_iter().chain(terms).chain(claims)
    }
}

/// The terms of a pod's required node affinity.
pub(crate) fn required_terms(spec: &PodSpec) -> Option<&[NodeSelectorTerm]> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity
        .required_during_scheduling_ignored_during_execution
        .as_ref()?;
    Some(&required.node_selector_terms)
}

pub(crate) fn names(nodes: &BTreeSet<&str>) -> String {
    const MOST: usize = 4;
    let listed: Vec<_> = nodes.iter().take(MOST).copied().collect();
    let more = nodes.len().saturating_sub(MOST);
    let rest = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{rest}", listed.join(", "))
}

#[cfg(test)]
mod tests;
