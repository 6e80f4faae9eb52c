use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;
use outrigger_api::conditions::reason;
use outrigger_api::{Dataset, DatasetProblem, DatasetStatus, MOST_LISTED};
use outrigger_placement::Size;

use super::finding::{Counts, Finding, Places, whole};
use super::fingerprint;
use crate::context::Context;
use crate::status::{self, Progress, Summary};

/// Most letters of a message about one path or claim.
const LONGEST: usize = 1024;

/// Writes what was found into the status, if it says something new. `begun` is when the look began
/// that found it.
pub(super) async fn finding(
    context: &Context,
    dataset: &Dataset,
    found: Option<&DatasetStatus>,
    finding: &Finding,
    begun: Timestamp,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let summary = finding.summary();
    let generation = dataset.metadata.generation;
    let before = found.cloned().unwrap_or_default();
    let wanted = status(&before, generation, finding, &summary, begun, now);
    write(context, dataset, found, &wanted, &summary).await
}

/// Says that the first scan is running, and returns the status that says so. What it says of the
/// data stands until something else is found.
pub(super) async fn scanning(
    context: &Context,
    dataset: &Dataset,
    paths: usize,
    now: Timestamp,
) -> Result<DatasetStatus, kube::Error> {
    let summary = Summary {
        progress: Progress::Reconciling,
        reason: reason::SCANNING,
        message: match paths {
            1 => "1 path is being looked at for the first time".to_owned(),
            _ => format!("{paths} paths are being looked at for the first time"),
        },
    };
    let found = dataset.status.as_ref();
    let wanted = told(dataset, &summary, now);
    write(context, dataset, found, &wanted, &summary).await?;
    Ok(wanted)
}

/// Writes a summary alone; the rest of the status stands.
pub(super) async fn summary(
    context: &Context,
    dataset: &Dataset,
    summary: &Summary,
    now: Timestamp,
) -> Result<(), kube::Error> {
    let wanted = told(dataset, summary, now);
    write(context, dataset, dataset.status.as_ref(), &wanted, summary).await
}

fn told(dataset: &Dataset, summary: &Summary, now: Timestamp) -> DatasetStatus {
    let generation = dataset.metadata.generation;
    let before = dataset.status.clone().unwrap_or_default();
    DatasetStatus {
        observed_generation: generation,
        conditions: summary.conditions(&before.conditions, generation, now),
        ..before
    }
}

fn status(
    before: &DatasetStatus,
    generation: Option<i64>,
    finding: &Finding,
    summary: &Summary,
    begun: Timestamp,
    now: Timestamp,
) -> DatasetStatus {
    let Finding {
        places,
        unknown_data_nodes,
        problems,
        trouble: _,
    } = finding;
    let told = DatasetStatus {
        observed_generation: generation,
        conditions: summary.conditions(&before.conditions, generation, now),
        problems: problems.iter().take(MOST_LISTED).map(shortened).collect(),
        ..before.clone()
    };
    let Some(places) = places else {
        return told;
    };
    let fingerprint = fingerprint::of(&places.located);
    let same = before.fingerprint.as_ref() == Some(&fingerprint);
    let (files, blocks) = match places.counts {
        Counts::Claims(claims) => (claims, None),
        Counts::Hdfs { files, blocks } => (files, Some(blocks)),
    };
    let mut nodes = Places::nodes(places);
    let node_count = nodes.len();
    nodes.truncate(MOST_LISTED);
    DatasetStatus {
        bytes: Some(whole(places.bytes())),
        size: Some(Size(places.bytes()).to_string()),
        bytes_on_no_node: Some(whole(places.on_no_node())),
        files: Some(whole(files)),
        blocks: blocks.map(whole),
        node_count: Some(i32::try_from(node_count).unwrap_or(i32::MAX)),
        nodes,
        unknown_data_nodes: unknown_data_nodes
            .iter()
            .take(MOST_LISTED)
            .cloned()
            .collect(),
        since: match &before.since {
            Some(since) if same => Some(since.clone()),
            _ => Some(Time(begun)),
        },
        fingerprint: Some(fingerprint),
        ..told
    }
}

fn shortened(problem: &DatasetProblem) -> DatasetProblem {
    let mut letters = problem.message.chars();
    let mut message: String = letters.by_ref().take(LONGEST).collect();
    if letters.next().is_some() {
        message.push('…');
    }
    DatasetProblem {
        name: problem.name.clone(),
        message,
    }
}

async fn write(
    context: &Context,
    dataset: &Dataset,
    found: Option<&DatasetStatus>,
    wanted: &DatasetStatus,
    summary: &Summary,
) -> Result<(), kube::Error> {
    let written = match status::report(&context.client, dataset, found, wanted).await {
        // It was deleted meanwhile.
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(()),
        written => written?,
    };
    let former = found.and_then(|found| status::reason(&found.conditions));
    if written && former != Some(summary.reason) {
        context.events.tell(dataset, summary).await;
    } else if written {
        let (namespace, name) = (dataset.namespace().unwrap_or_default(), dataset.name_any());
        tracing::debug!(namespace, name, message = summary.message, "Dataset");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use outrigger_placement::{Located, Part};

    use super::*;

    const EARLY: Timestamp = Timestamp::constant(1_000, 0);
    const LATE: Timestamp = Timestamp::constant(2_000, 0);

    /// A byte more on each node than on the one before.
    fn on(nodes: u64) -> Finding {
        let group = |node: u64| {
            let holders = BTreeSet::from([format!("node-{node}")]);
            (holders, node)
        };
        Finding {
            places: Some(Places {
                located: Arc::new(Located {
                    parts: vec![Part {
                        name: "/a".into(),
                        bytes: (1..=nodes).sum(),
                        groups: (1..=nodes).map(group).collect::<BTreeMap<_, _>>(),
                    }],
                }),
                ..Places::default()
            }),
            ..Finding::default()
        }
    }

    fn after(before: &DatasetStatus, finding: &Finding, now: Timestamp) -> DatasetStatus {
        status(before, Some(1), finding, &finding.summary(), now, now)
    }

    #[test]
    fn lists_are_bounded_and_say_how_many_there_are() {
        let mut many = on(100);
        many.unknown_data_nodes = (100..200).map(|host| format!("w{host}:9866")).collect();
        many.problems = (100..200)
            .map(|path| DatasetProblem {
                name: format!("/{path}"),
                message: "ä".repeat(5000),
            })
            .collect();
        let status = after(&DatasetStatus::default(), &many, EARLY);
        assert_eq!(status.node_count, Some(100));
        assert_eq!(status.nodes.len(), MOST_LISTED);
        assert_eq!(status.nodes[0].name, "node-100");
        assert_eq!(status.unknown_data_nodes.len(), MOST_LISTED);
        assert_eq!(status.problems.len(), MOST_LISTED);
        assert_eq!(status.problems[0].message.chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_same_found_again_changes_nothing() {
        let first = after(&DatasetStatus::default(), &on(3), EARLY);
        assert_eq!(after(&first, &on(3), LATE), first);
        let other = after(&first, &on(4), LATE);
        assert_eq!(other.since(), Some(LATE));
        assert_ne!(other.fingerprint, first.fingerprint);
    }

    #[test]
    fn what_was_found_before_stays_while_nobody_answers() {
        let first = after(&DatasetStatus::default(), &on(3), EARLY);
        let nobody = Finding {
            trouble: Some(super::super::finding::Trouble {
                summary: Summary {
                    progress: Progress::Reconciling,
                    reason: reason::NAME_NODE_UNAVAILABLE,
                    message: "away".into(),
                },
                unanswered: true,
            }),
            ..Finding::default()
        };
        let status = after(&first, &nobody, LATE);
        assert_eq!(status.bytes, first.bytes);
        assert_eq!(status.nodes, first.nodes);
        assert_eq!(status.since, first.since);
        assert_eq!(status.conditions[0].status, "False");
    }
}
