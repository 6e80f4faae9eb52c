//! Released pods that the scheduler does not bind.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::eligible::Needs;
use crate::pod::{Stage, View};
use crate::{AskedFor, Avoided, Node, Replaceable, Replacement, Situation, Waiting};

/// How long a node is avoided after a pod that was sent there was not bound.
const AVOIDED_FOR: SignedDuration = SignedDuration::from_secs(600);
/// Most characters of the scheduler's own words.
const MOST_OF_MESSAGE: usize = 256;

/// What becomes of released pods that are on no node.
#[derive(Default)]
pub(crate) struct Stuck {
    pub(crate) replacements: Vec<Replacement>,
    pub(crate) waiting: Vec<Waiting>,
    /// Nodes to avoid from now on.
    pub(crate) avoided: Vec<Avoided>,
}

pub(crate) fn stuck(situation: &Situation, views: &[View<'_>]) -> Stuck {
    let nodes: BTreeMap<_, _> = situation
        .nodes
        .iter()
        .map(|node| (node.name.as_str(), node))
        .collect();
    let mut stuck = Stuck {
        avoided: still_avoided(situation, &nodes),
        ..Stuck::default()
    };
    let mut deleted_of_job: BTreeMap<&str, u32> = BTreeMap::new();
    for view in views.iter().filter(|view| view.stage == Stage::Released) {
        let (reason, until) = match judge(situation, view, &mut deleted_of_job) {
            Verdict::Nothing => continue,
            Verdict::Wait { reason, until } => (reason, until),
            Verdict::Replace { node, reason } => {
                if let Some(node) = nodes.get(node.as_str()) {
                    stuck.avoid(avoided(situation, view, node, &reason));
                }
                stuck.replacements.push(Replacement {
                    pod: view.name.clone(),
                    uid: view.uid.clone(),
                    reason,
                });
                continue;
            }
        };
        stuck.waiting.push(Waiting {
            pod: view.name.clone(),
            uid: view.uid.clone(),
            gated: false,
            reason,
            until,
        });
    }
    stuck
        .avoided
        .sort_by(|one, other| one.node.cmp(&other.node));
    stuck
}

/// When a node is no longer avoided.
pub(crate) fn avoided_until(avoided: &Avoided) -> Timestamp {
    avoided
        .since
        .saturating_add(AVOIDED_FOR)
        .unwrap_or(Timestamp::MAX)
}

/// Those that are avoided still: for a while, and the same node.
fn still_avoided(situation: &Situation, nodes: &BTreeMap<&str, &Node>) -> Vec<Avoided> {
    let same = |avoided: &&Avoided| {
        let node = nodes.get(avoided.node.as_str());
        node.is_some_and(|node| node.uid == avoided.node_uid)
    };
    let current = |avoided: &&Avoided| situation.now < avoided_until(avoided);
    let avoided = situation.avoided.iter().filter(same).filter(current);
    avoided.cloned().collect()
}

fn avoided(situation: &Situation, view: &View<'_>, node: &Node, reason: &str) -> Avoided {
    let earlier = situation
        .avoided
        .iter()
        .map(|avoided| avoided.first_attempt);
    let first_attempt = earlier.chain([view.created]).min();
    Avoided {
        node: node.name.clone(),
        node_uid: node.uid.clone(),
        reason: format!("pod {} {reason}", view.name),
        since: situation.now,
        first_attempt: first_attempt.unwrap_or(view.created),
    }
}

impl Stuck {
    fn avoid(&mut self, avoided: Avoided) {
        if self.avoided.iter().all(|known| known.node != avoided.node) {
            self.avoided.push(avoided);
        }
    }
}

enum Verdict {
    Nothing,
    Wait {
        reason: String,
        until: Option<Timestamp>,
    },
    Replace {
        node: String,
        reason: String,
    },
}

fn judge<'a>(
    situation: &Situation,
    view: &'a View<'_>,
    deleted_of_job: &mut BTreeMap<&'a str, u32>,
) -> Verdict {
    let wait = |reason: String, until: Option<Timestamp>| Verdict::Wait { reason, until };
    let explanation = match &view.explanation {
        None => return unplaced(situation, view),
        Some(Err(error)) => return wait(error.to_string(), None),
        Some(Ok(explanation)) => explanation,
    };
    let others = view
        .app
        .pod
        .spec
        .iter()
        .flat_map(|spec| spec.scheduling_gates.iter().flatten());
    let others: Vec<_> = others.map(|gate| gate.name.as_str()).collect();
    if !others.is_empty() {
        let others = others.join(", ");
        return wait(
            format!("released; it has other scheduling gates: {others}"),
            None,
        );
    }
    let condition = view.scheduled();
    let says = scheduler_says(view);
    // The scheduler has not come to it since it was released, or is binding its volumes.
    let untried =
        condition.is_some_and(|condition| condition.reason.as_deref() == Some("SchedulingGated"));
    let (Some(node), AskedFor::Required) = (&explanation.node, explanation.mode) else {
        return match untried || condition.is_none() {
            true => Verdict::Nothing,
            false => wait(format!("released; the scheduler says: {says}"), None),
        };
    };
    let seconds = situation.locality.bind_timeout_seconds;
    let until = after(explanation.since, seconds);
    if situation.now < until {
        let until_text = to_second(until);
        let reason = format!("sent to {node}; the scheduler may bind it until {until_text}");
        return wait(reason, Some(until));
    }
    if untried {
        let reason =
            format!("sent to {node}; the scheduler is binding its volumes, or does not work");
        return wait(reason, None);
    }
    // Victims may end more slowly than the timeout; to give up now would have ended them for nothing.
    if view.nominated() == Some(node.as_str()) {
        let reason = format!("sent to {node}; the scheduler is making room there for it");
        return wait(reason, None);
    }
    let unbound =
        format!("was sent to {node} and not bound within {seconds} s; the scheduler says: {says}");
    match replace(&view.app.replaceable, deleted_of_job) {
        Ok(()) => Verdict::Replace {
            node: node.clone(),
            reason: unbound,
        },
        Err(because) => wait(format!("{unbound}; it is not replaced: {because}"), None),
    }
}

/// A pod that was never at the gate, such as one whose own claims leave it one node, waits for the
/// scheduler alone.
fn unplaced(situation: &Situation, view: &View<'_>) -> Verdict {
    let condition = view.scheduled();
    let tried = condition.is_some_and(|found| found.reason.as_deref() == Some("Unschedulable"));
    if !tried {
        return Verdict::Nothing;
    }
    let says = scheduler_says(view);
    let reason = match held_by_claim(situation, view) {
        Some(held) => format!("{held}; the scheduler says: {says}"),
        None => format!("the scheduler says: {says}"),
    };
    Verdict::Wait {
        reason,
        until: None,
    }
}

/// The claim that leaves a pod one node, which cannot run it now.
fn held_by_claim(situation: &Situation, view: &View<'_>) -> Option<String> {
    let needs = Needs::of(&view.app.pod, &view.app.claims);
    view.app.claims.iter().find_map(|claim| {
        let name = claim.only_node(&situation.nodes)?;
        let node = situation.nodes.iter().find(|node| node.name == name)?;
        let excluded = needs.rules_out(node)?;
        Some(format!(
            "its claim {} is on {name} only, which is ruled out: {excluded}",
            claim.name
        ))
    })
}

/// The scheduler's last word about a pod, shortened.
fn scheduler_says(view: &View<'_>) -> String {
    let condition = view.scheduled();
    let says = condition.and_then(|condition| condition.message.as_deref());
    match says.unwrap_or_default() {
        "" => "nothing yet".to_owned(),
        says => says.chars().take(MOST_OF_MESSAGE).collect(),
    }
}

/// Whether a pod may be deleted, so that another one comes.
fn replace<'a>(
    replaceable: &'a Replaceable,
    deleted_of_job: &mut BTreeMap<&'a str, u32>,
) -> Result<(), String> {
    match replaceable {
        Replaceable::Yes => Ok(()),
        Replaceable::No { reason } => Err(reason.clone()),
        Replaceable::CountedByJob { job, left } => {
            let deleted = deleted_of_job.entry(job).or_default();
            if *deleted < *left {
                *deleted += 1;
                return Ok(());
            }
            Err("its Job counts deleted pods as failed, and bears no more failures".to_owned())
        }
    }
}

/// A number of seconds after a time.
pub(crate) fn after(time: Timestamp, seconds: u32) -> Timestamp {
    let seconds = SignedDuration::from_secs(i64::from(seconds));
    time.saturating_add(seconds).unwrap_or(Timestamp::MAX)
}

/// A time in whole seconds, for people.
pub(crate) fn to_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
