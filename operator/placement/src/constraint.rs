//! What pods demand of the labels and names of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::api::core::v1::NodeSelectorTerm;

use crate::eligible::names;
use crate::volume::{Claim, Place};
use crate::{Excluded, Node, selector};

/// One demand of a pod on the labels or the name of its node.
pub(crate) enum Constraint<'a> {
    NodeSelector(&'a BTreeMap<String, String>),
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
pub(crate) enum Owner<'a> {
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
    pub(crate) fn of_claim(claim: &'a Claim) -> Option<Constraint<'a>> {
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

    pub(crate) fn allows(&self, node: &Node) -> bool {
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

    pub(crate) fn rules_out(&self, node: &Node) -> Option<Excluded> {
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
