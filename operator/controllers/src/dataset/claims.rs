//! Where the bytes of claims are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::NodeSelectorTerm;
use outrigger_api::DatasetProblem;
use outrigger_api::conditions::reason;
use outrigger_placement::{Claim, HOSTNAME_LABEL, Located, Node, Part, Place, Volume};

use super::finding::{Counts, Finding, Places, Trouble, first_of};
use super::validate::WantedClaims;
use crate::status::{Progress, Summary};

/// Labels and fields by which a volume names its node.
const HOSTS: [&str; 2] = [HOSTNAME_LABEL, "metadata.name"];

/// A claim, or the name of one that does not exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FoundClaim {
    pub(super) claim: Claim,
    /// What it asks for, in bytes.
    pub(super) requested: u64,
}

/// What is wrong with a claim, the first that counts most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Missing,
    Lost,
    NodeGone,
    NotBound,
}

/// Finds out where claims are; `claims` in the order of their names.
pub(super) fn find(
    namespace: &str,
    wanted: &WantedClaims,
    claims: &[FoundClaim],
    nodes: &[Node],
) -> Finding {
    let ready: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| node.ready)
        .map(|node| node.name.as_str())
        .collect();
    let mut wrongs: BTreeMap<Wrong, Vec<String>> = BTreeMap::new();
    let mut problems = Vec::new();
    let existing = claims
        .iter()
        .filter(|found| found.claim.place != Place::Missing);
    let mut places = Places {
        counts: Counts::Claims(existing.count() as u64),
        ..Places::default()
    };
    let mut parts = Vec::new();
    for found in claims {
        let holders = found.claim.holders(nodes);
        let (holders, away): (BTreeSet<_>, BTreeSet<_>) = holders
            .into_iter()
            .partition(|node| ready.contains(node.as_str()));
        if let Some((wrong, message)) = wrong(namespace, found, &holders, &away) {
            problems.push(DatasetProblem {
                name: found.claim.name.clone(),
                message: message.clone(),
            });
            wrongs.entry(wrong).or_default().push(message);
        } else {
            places.not_ready.extend(away);
        }
        let bytes = bytes(found);
        parts.push(Part {
            name: found.claim.name.clone(),
            bytes,
            groups: (bytes > 0)
                .then_some((holders, bytes))
                .into_iter()
                .collect(),
        });
    }
    if claims.is_empty() {
        let message = format!(
            "no PersistentVolumeClaim of namespace {namespace} has {}",
            wanted.described()
        );
        wrongs.insert(Wrong::Missing, vec![message]);
    }
    places.located = Arc::new(Located { parts });
    Finding {
        places: Some(places),
        unknown_data_nodes: Vec::new(),
        problems,
        trouble: wrongs.first_key_value().map(trouble),
    }
}

fn trouble((wrong, messages): (&Wrong, &Vec<String>)) -> Trouble {
    let (progress, reason) = match wrong {
        Wrong::Missing => (Progress::Stalled, reason::CLAIM_NOT_FOUND),
        Wrong::Lost => (Progress::Stalled, reason::CLAIM_LOST),
        Wrong::NodeGone => (Progress::Reconciling, reason::VOLUME_NODE_GONE),
        Wrong::NotBound => (Progress::Reconciling, reason::CLAIM_NOT_BOUND),
    };
    Trouble {
        summary: Summary {
            progress,
            reason,
            message: first_of(messages).unwrap_or_default(),
        },
        unanswered: false,
    }
}

/// Bytes of a claim's volume or, while it has none, what it asks for. What was lost is no more.
fn bytes(found: &FoundClaim) -> u64 {
    match &found.claim.place {
        Place::Bound(volume) => volume.bytes,
        Place::NotYetAnywhere { .. } | Place::BeingBound => found.requested,
        Place::Missing | Place::Lost { .. } => 0,
    }
}

/// What is wrong with a claim. `holders` are the nodes that it is on and that are ready, `away`
/// those that are not.
fn wrong(
    namespace: &str,
    found: &FoundClaim,
    holders: &BTreeSet<String>,
    away: &BTreeSet<String>,
) -> Option<(Wrong, String)> {
    let claim = format!("PersistentVolumeClaim {}", found.claim.name);
    match &found.claim.place {
        Place::Missing => Some((
            Wrong::Missing,
            format!("{claim} does not exist in namespace {namespace}"),
        )),
        Place::Lost { volume } => Some((
            Wrong::Lost,
            format!("{claim} has lost its volume {volume}: it does not exist any more"),
        )),
        Place::NotYetAnywhere { .. } | Place::BeingBound => Some((
            Wrong::NotBound,
            format!("{claim} is not bound to a volume yet"),
        )),
        Place::Bound(volume) => {
            let why = gone(volume, holders, away)?;
            let volume = &volume.name;
            Some((Wrong::NodeGone, format!("volume {volume} of {claim} {why}")))
        }
    }
}

/// Why no node has a volume now, for a sentence; `None` if one has it, or all could have it.
fn gone(volume: &Volume, holders: &BTreeSet<String>, away: &BTreeSet<String>) -> Option<String> {
    let somewhere = !holders.is_empty() || (volume.terms.is_none() && volume.attached.is_empty());
    if somewhere {
        return None;
    }
    let names = |names: &BTreeSet<String>| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        names.join(", ")
    };
    Some(if !away.is_empty() {
        format!("is on node {}, which is not ready", names(away))
    } else if !volume.recreated.is_empty() {
        format!(
            "is on node {}, which was created anew after it: its data are not there",
            names(&volume.recreated)
        )
    } else if !volume.attached.is_empty() {
        format!(
            "is attached to node {}, which does not exist",
            names(&volume.attached)
        )
    } else {
        match hosts(volume.terms.as_deref().unwrap_or_default()) {
            hosts if hosts.is_empty() => "is on no node: none matches its node affinity".to_owned(),
            hosts => format!("is on node {}, which does not exist", names(&hosts)),
        }
    })
}

/// The nodes that terms name outright.
fn hosts(terms: &[NodeSelectorTerm]) -> BTreeSet<String> {
    let requirements = terms.iter().flat_map(|term| {
        let expressions = term.match_expressions.iter().flatten();
        expressions.chain(term.match_fields.iter().flatten())
    });
    let by_name = requirements.filter(|requirement| {
        HOSTS.contains(&requirement.key.as_str()) && requirement.operator == "In"
    });
    let values = by_name.flat_map(|requirement| requirement.values.iter().flatten());
    values.cloned().collect()
}
