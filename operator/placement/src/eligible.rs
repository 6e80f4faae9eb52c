//! Which nodes can run a pod, and what rules out the others, as the scheduler sees it.

use std::collections::BTreeSet;
use std::fmt;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec, Taint, Toleration};
use outrigger_resources::Amounts;

use crate::volume::{Claim, Place};
use crate::{AppPod, Node, Size, room, selector};

const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Why a node cannot run a pod, for people: what follows "node-1 is ruled out: ".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Excluded {
    /// It is not in the cluster any more.
    Gone,
    /// It is not ready.
    NotReady,
    /// It is cordoned.
    Cordoned,
    /// It has a taint that the pod does not tolerate.
    Taint {
        /// The taint, as kubectl writes it.
        taint: String,
    },
    /// It lacks a label that `spec.nodeSelector` asks for.
    NodeSelector {
        /// Key of the label.
        key: String,
        /// The value asked for.
        wanted: String,
        /// The value found.
        found: Option<String>,
    },
    /// It matches no term of the required node affinity.
    NodeAffinity {
        /// The terms, in words.
        terms: String,
    },
    /// A volume of the pod is elsewhere, or can only be elsewhere.
    Volume {
        /// Name of the claim.
        claim: String,
        /// The volume, or the StorageClass, and its field.
        field: String,
        /// The terms of that field, in words.
        terms: String,
    },
    /// It was created again under its name after a volume of the pod that was a part of it.
    Recreated {
        /// Name of the claim.
        claim: String,
        /// Name of the volume.
        volume: String,
    },
    /// A volume of the pod is gone.
    Lost {
        /// Name of the claim.
        claim: String,
        /// Name of the volume.
        volume: String,
    },
    /// It lacks room.
    NoRoom {
        /// The resource.
        resource: String,
        /// What the pod asks for, in billionths. What is free is not told: it changes with each pod
        /// that comes or goes, and so would each status that says it.
        wanted: i128,
    },
    /// A pod of the application is there that the pod must not be beside.
    NotAlone,
    /// A pod that was sent there was not bound.
    Avoided {
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Excluded::Gone => write!(f, "not in the cluster any more"),
            Excluded::NotReady => write!(f, "not ready"),
            Excluded::Cordoned => write!(f, "cordoned"),
            Excluded::Taint { taint } => write!(f, "the pod does not tolerate its taint {taint}"),
            Excluded::NodeSelector { key, wanted, found } => {
                write!(f, "the pod's spec.nodeSelector asks for {key}={wanted}, ")?;
                match found {
                    Some(found) => write!(f, "it has {key}={found}"),
                    None => write!(f, "it has no such label"),
                }
            }
            Excluded::NodeAffinity { terms } => {
                write!(f, "the pod's spec.affinity.nodeAffinity asks for {terms}")
            }
            Excluded::Volume {
                claim,
                field,
                terms,
            } => {
                write!(f, "{field} of the pod's claim {claim} asks for {terms}")
            }
            Excluded::Recreated { claim, volume } => write!(
                f,
                "it was created after PersistentVolume {volume} of the pod's claim {claim}, whose data were on the node that had its name before"
            ),
            Excluded::Lost { claim, volume } => write!(
                f,
                "the pod's claim {claim} has lost its PersistentVolume {volume}"
            ),
            Excluded::NoRoom { resource, wanted } => write!(
                f,
                "no room: the pod asks for {}, less is free",
                Amount(resource, *wanted)
            ),
            Excluded::NotAlone => write!(
                f,
                "the pod's spec.affinity.podAntiAffinity keeps it from a pod that is there"
            ),
            Excluded::Avoided { reason } => write!(f, "avoided: {reason}"),
        }
    }
}

/// An amount of a resource, in billionths, for people: `1.5 cpu`, `2.0 GiB memory`.
struct Amount<'a>(&'a str, i128);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Amount(name, nanos) = *self;
        let whole = nanos / 1_000_000_000;
        let in_bytes =
            matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        match u64::try_from(whole) {
            Ok(bytes) if in_bytes => write!(f, "{} {name}", Size(bytes)),
            _ if nanos % 1_000_000_000 == 0 => write!(f, "{whole} {name}"),
            _ => write!(f, "{}m {name}", nanos / 1_000_000),
        }
    }
}

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
        if node.cordoned && !tolerates_cordon(tolerations) {
            return Some(Excluded::Cordoned);
        }
        if let Some(taint) = untolerated(&node.taints, tolerations) {
            let taint = described_taint(taint);
            return Some(Excluded::Taint { taint });
        }
        self.constraints()
            .find_map(|constraint| constraint.rules_out(node))
    }

    /// Whether nothing rules a node out, whatever else runs there; nothing is put into words.
    pub(crate) fn allows(&self, node: &Node) -> bool {
        let tolerations = self.tolerations();
        node.ready
            && (!node.cordoned || tolerates_cordon(tolerations))
            && untolerated(&node.taints, tolerations).is_none()
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

fn names(nodes: &BTreeSet<&str>) -> String {
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

/// One demand of a pod on the labels or the name of its node.
enum Constraint<'a> {
    NodeSelector(&'a std::collections::BTreeMap<String, String>),
    NodeAffinity(&'a [NodeSelectorTerm]),
    Claim {
        claim: &'a str,
        owner: Owner<'a>,
        terms: &'a [NodeSelectorTerm],
        recreated: Option<(&'a str, &'a BTreeSet<String>)>,
    },
    Lost {
        claim: &'a str,
        volume: &'a str,
    },
}

/// What says where a claim may be.
enum Owner<'a> {
    Class(&'a str),
    Volume(&'a str),
}

impl fmt::Display for Owner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Class(name) => write!(f, "StorageClass {name} allowedTopologies"),
            Owner::Volume(name) => write!(f, "PersistentVolume {name} spec.nodeAffinity"),
        }
    }
}

impl<'a> Constraint<'a> {
    fn of_claim(claim: &'a Claim) -> Option<Constraint<'a>> {
        let name = claim.name.as_str();
        match &claim.place {
            Place::Missing | Place::BeingBound => None,
            Place::Lost { volume } => Some(Constraint::Lost {
                claim: name,
                volume,
            }),
            Place::NotYetAnywhere { class, terms } => Some(Constraint::Claim {
                claim: name,
                owner: Owner::Class(class),
                terms: terms.as_deref()?,
                recreated: None,
            }),
            Place::Bound(volume) => Some(Constraint::Claim {
                claim: name,
                owner: Owner::Volume(&volume.name),
                terms: volume.terms.as_deref()?,
                recreated: Some((&volume.name, &volume.recreated)),
            }),
        }
    }

    fn allows(&self, node: &Node) -> bool {
        match self {
            Constraint::NodeSelector(selector) => {
                selector::unmatched(Some(selector), node).is_none()
            }
            Constraint::NodeAffinity(terms) => selector::matches(terms, node),
            Constraint::Claim {
                terms, recreated, ..
            } => {
                let again = |(_, nodes): &(&str, &BTreeSet<String>)| nodes.contains(&node.name);
                selector::matches(terms, node) && !recreated.as_ref().is_some_and(again)
            }
            Constraint::Lost { .. } => false,
        }
    }

    fn rules_out(&self, node: &Node) -> Option<Excluded> {
        match self {
            Constraint::NodeSelector(selector) => {
                let (key, wanted) = selector::unmatched(Some(selector), node)?;
                Some(Excluded::NodeSelector {
                    key: key.to_owned(),
                    wanted: wanted.to_owned(),
                    found: node.labels.get(key).cloned(),
                })
            }
            Constraint::NodeAffinity(terms) => {
                (!selector::matches(terms, node)).then(|| Excluded::NodeAffinity {
                    terms: selector::described(terms),
                })
            }
            Constraint::Claim {
                claim,
                owner,
                terms,
                recreated,
            } => {
                if !selector::matches(terms, node) {
                    return Some(Excluded::Volume {
                        claim: (*claim).to_owned(),
                        field: owner.to_string(),
                        terms: selector::described(terms),
                    });
                }
                let (volume, nodes) = recreated.as_ref()?;
                nodes.contains(&node.name).then(|| Excluded::Recreated {
                    claim: (*claim).to_owned(),
                    volume: (*volume).to_owned(),
                })
            }
            Constraint::Lost { claim, volume } => Some(Excluded::Lost {
                claim: (*claim).to_owned(),
                volume: (*volume).to_owned(),
            }),
        }
    }
}

impl fmt::Display for Constraint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Constraint::NodeSelector(selector) => {
                let labels: Vec<_> = selector
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                write!(
                    f,
                    "the pod's spec.nodeSelector asks for {}",
                    labels.join(",")
                )
            }
            Constraint::NodeAffinity(terms) => write!(
                f,
                "the pod's spec.affinity.nodeAffinity asks for {}",
                selector::described(terms)
            ),
            Constraint::Claim {
                claim,
                owner,
                terms,
                recreated,
            } => {
                let terms = selector::described(terms);
                write!(f, "{owner} of the pod's claim {claim} asks for {terms}")?;
                let recreated = recreated.iter().flat_map(|(_, nodes)| nodes.iter());
                let recreated: BTreeSet<_> = recreated.map(String::as_str).collect();
                if !recreated.is_empty() {
                    let names = names(&recreated);
                    write!(f, " as it was before {names} was created again")?;
                }
                Ok(())
            }
            Constraint::Lost { claim, volume } => write!(
                f,
                "the pod's claim {claim} has lost its PersistentVolume {volume}"
            ),
        }
    }
}

/// The first taint that keeps new pods away and is not tolerated.
fn untolerated<'a>(taints: &'a [Taint], tolerations: &[Toleration]) -> Option<&'a Taint> {
    let mut keeping = taints
        .iter()
        .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"));
    keeping.find(|taint| {
        !tolerations
            .iter()
            .any(|toleration| tolerates(toleration, taint))
    })
}

fn tolerates_cordon(tolerations: &[Toleration]) -> bool {
    let taint = Taint {
        key: UNSCHEDULABLE.to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, &taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let same_effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let same_key = given(&toleration.key).is_none_or(|key| key == taint.key);
    let same_value = match toleration.operator.as_deref() {
        None | Some("" | "Equal") => {
            toleration.value.as_deref().unwrap_or_default()
                == taint.value.as_deref().unwrap_or_default()
        }
        Some("Exists") => true,
        Some(_) => false,
    };
    same_effect && same_key && same_value
}

fn described_taint(taint: &Taint) -> String {
    let Taint {
        key,
        value,
        effect,
        time_added: _,
    } = taint;
    match value.as_deref().filter(|value| !value.is_empty()) {
        Some(value) => format!("{key}={value}:{effect}"),
        None => format!("{key}:{effect}"),
    }
}

#[cfg(test)]
mod tests;
