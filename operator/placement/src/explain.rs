//! Why a pod goes where it goes, for people who know neither HDFS nor us.

use std::collections::BTreeMap;

use crate::board::Board;
use crate::explanation::MOST_EXCLUDED;
use crate::pin::Target;
use crate::plan::Candidate;
use crate::reading::Library;
use crate::{AskedFor, Excluded, Explanation, RunnerUp, Share, Situation, Size};

/// Most nodes that a pod prefers.
const MOST_PREFERRED: usize = 8;
/// Most nodes that a sentence rules out.
const MOST_TOLD: usize = 3;

/// The nodes that hold data of a pod, and what rules some of them out.
pub(crate) struct Holders<'a> {
    /// Those that may run the pod, with their bytes, those that hold most first.
    pub(crate) open: Vec<(&'a str, u64)>,
    /// The others, in the same order.
    pub(crate) excluded: Vec<&'a str>,
    /// What rules the first of these out: as many as are told anywhere.
    told: Vec<(&'a str, Excluded)>,
}

impl<'a> Holders<'a> {
    pub(crate) fn of(board: &Board<'_>, candidate: &Candidate<'a>) -> Holders<'a> {
        let Candidate {
            view,
            needs,
            reading,
        } = candidate;
        let mut holders = Holders {
            open: Vec::new(),
            excluded: Vec::new(),
            told: Vec::new(),
        };
        let pod = &view.app.pod;
        for node in reading.holders() {
            match board.was_open(pod, needs, node) {
                true => holders.open.push((node, reading.on(node))),
                false => holders.excluded.push(node),
            }
        }
        let told = holders.excluded.iter().take(MOST_EXCLUDED.max(MOST_TOLD));
        let told = told.filter_map(|node| Some((*node, board.excluded(pod, needs, node)?)));
        holders.told = told.collect();
        holders
    }

    /// The nodes that are ruled out, in a sentence; empty if there are none.
    pub(crate) fn ruled_out(&self) -> String {
        let told = self.told.iter().take(MOST_TOLD);
        let told: Vec<_> = told
            .map(|(node, why)| format!("{node} ruled out: {why}"))
            .collect();
        let more = self.excluded.len().saturating_sub(MOST_TOLD);
        match more {
            0 => told.join("; "),
            1 => format!("{}; and one more node ruled out", told.join("; ")),
            _ => format!("{}; and {more} more nodes ruled out", told.join("; ")),
        }
    }

    fn listed(&self) -> BTreeMap<String, String> {
        let listed = self.told.iter().take(MOST_EXCLUDED);
        let listed = listed.map(|(node, why)| ((*node).to_owned(), why.to_string()));
        listed.collect()
    }
}

/// The release of a pod to a node, or to whichever node the scheduler prefers.
pub(crate) fn released(
    situation: &Situation,
    board: &Board<'_>,
    library: &Library<'_>,
    candidate: &Candidate<'_>,
    chosen: Option<usize>,
    required: bool,
    note: Option<String>,
) -> (Target, Explanation) {
    let reading = &candidate.reading;
    let holders = Holders::of(board, candidate);
    let node = chosen.map(|chosen| board.nodes[chosen]);
    let name = node.map(|node| node.name.as_str());
    let local = name.map_or(0, |name| reading.on(name));
    let target = target(candidate, name, required, &holders);
    let runner_up = holders.open.iter().find(|(open, _)| Some(*open) != name);
    let runner_up = runner_up.filter(|_| name.is_some());
    let mut told = vec![match name {
        Some(name) if local > 0 => {
            let share = Share {
                bytes: local,
                of: reading.bytes,
            };
            format!(
                "{name} holds {} of its {} ({share})",
                Size(local),
                Size(reading.bytes)
            )
        }
        Some(name) => {
            let zone = node.and_then(|node| node.zone()).unwrap_or_default();
            format!(
                "no node that holds some of its {} has room for it; {name} is in zone {zone}, where some of them are",
                Size(reading.bytes)
            )
        }
        None => homeless(situation, candidate, &holders),
    }];
    told.extend(runner_up.map(|(other, bytes)| match *bytes > local {
        true => format!(
            "{other} holds {}, but is for other pods of {}",
            Size(*bytes),
            situation.application
        ),
        false => format!("next best {other} holds {}", Size(*bytes)),
    }));
    told.extend(Some(holders.ruled_out()).filter(|text| !text.is_empty()));
    told.extend(note);
    let stale = library.stale.iter();
    told.extend(stale.map(|(dataset, reason)| {
        format!("where Dataset {dataset} is was found before it could not be looked at: {reason}")
    }));
    let pending = library.pending.iter().flat_map(|(datasets, _)| datasets);
    told.extend(
        pending.map(|dataset| format!("the first scan of Dataset {dataset} has not ended")),
    );
    let unknown = library.unknown.iter();
    told.extend(unknown.map(|(dataset, reason)| {
        format!("Dataset {dataset} does not count, since it cannot be looked at: {reason}")
    }));
    let explanation = Explanation {
        v: 1,
        node: name.map(str::to_owned),
        mode: match &target {
            Target::Required(_) => AskedFor::Required,
            Target::Preferred(_) => AskedFor::Preferred,
            Target::Anywhere => AskedFor::None,
        },
        local_bytes: local,
        total_bytes: reading.bytes,
        runner_up: runner_up.map(|(node, bytes)| RunnerUp {
            node: (*node).to_owned(),
            local_bytes: *bytes,
        }),
        excluded: holders.listed(),
        reason: told.join("; "),
        since: situation.now,
    };
    (target, explanation)
}

/// Why a pod that reads something gets no node.
fn homeless(situation: &Situation, candidate: &Candidate<'_>, holders: &Holders<'_>) -> String {
    let bytes = candidate.reading.bytes;
    if holders.open.is_empty() && holders.excluded.is_empty() {
        return match bytes {
            0 => "nothing is known of its data, so it may run anywhere".to_owned(),
            _ => format!(
                "no node holds any of its {}, so it may run anywhere",
                Size(bytes)
            ),
        };
    }
    if let Some(conflict) = candidate.needs.conflict(&situation.nodes) {
        return conflict;
    }
    match holders.open.as_slice() {
        [] => format!(
            "no node that holds some of its {} can run it now",
            Size(bytes)
        ),
        [(node, _), ..] => format!(
            "the room on nodes that hold some of its {}, such as {node}, goes to other pods of {}",
            Size(bytes),
            situation.application
        ),
    }
}

/// The chosen node weighs 100, others as much less as they hold less. One that is full is not
/// preferred: its room may be kept for a pod that is obliged to go there.
fn target(
    candidate: &Candidate<'_>,
    chosen: Option<&str>,
    required: bool,
    holders: &Holders<'_>,
) -> Target {
    if let Some(chosen) = chosen.filter(|_| required) {
        return Target::Required(chosen.to_owned());
    }
    let reading = &candidate.reading;
    let open = holders.open.iter().map(|(node, _)| *node);
    let mut others: Vec<_> = open.filter(|node| Some(*node) != chosen).collect();
    others.sort_by_key(|node| std::cmp::Reverse(reading.weight_of(node)));
    let first = chosen.or(others.first().copied());
    let most = first.map_or(0, |node| reading.weight_of(node));
    let mut weights: Vec<_> = chosen
        .map(|node| (node.to_owned(), 100))
        .into_iter()
        .collect();
    let rest = others.into_iter().take(MOST_PREFERRED - weights.len());
    weights.extend(rest.map(|node| {
        let share = u128::from(reading.weight_of(node)) * 100 / u128::from(most.max(1));
        let highest = if chosen.is_some() { 99 } else { 100 };
        let weight = u8::try_from(share).unwrap_or(highest).clamp(1, highest);
        (node.to_owned(), weight)
    }));
    match weights.is_empty() {
        true => Target::Anywhere,
        false => Target::Preferred(weights),
    }
}
