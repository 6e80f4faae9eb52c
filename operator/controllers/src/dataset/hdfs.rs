//! Where the bytes of HDFS files are, by what the last scans found.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt;
use outrigger_api::DatasetProblem;
use outrigger_api::conditions::reason;
use outrigger_hdfs::identity::{DataNodePod, Identified, NamedNode, by_host_name, by_pod};
use outrigger_hdfs::{DataNode, DataNodeId, PathError, PathScan, ScanError, ServerError};
use outrigger_placement::{Located, Part, Size, is_ready};

use super::finding::{Counts, Finding, Places, Trouble, counted, first_of, total};
use super::scans::{Failure, Scanned};
use super::validate::{WantedHdfs, WantedNames};
use crate::status::{Progress, Summary};

/// Addresses of a node by which a DataNode may be named.
const ADDRESSES: [&str; 5] = [
    "Hostname",
    "InternalDNS",
    "ExternalDNS",
    "InternalIP",
    "ExternalIP",
];

/// Finds out where the bytes are, by what was scanned and the nodes and pods of now.
pub(super) fn find(
    wanted: &WantedHdfs,
    scanned: &Scanned,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
) -> Finding {
    let holders = holders(scanned);
    let mut identified = identify(wanted, &scanned.data_nodes, nodes, pods);
    let unknown = unknown(&identified, &holders);
    let not_ready = leave_out(&mut identified, scanned, &holders, nodes);
    let problems: Vec<_> = scanned.problems.iter().map(problem).collect();
    let places = scanned.knows_anything().then(|| Places {
        not_ready,
        ..places(wanted, scanned, &identified)
    });
    Finding {
        places,
        unknown_data_nodes: unknown.keys().map(ToString::to_string).collect(),
        problems,
        trouble: failed(scanned)
            .or_else(|| paths(scanned))
            .or_else(|| unknown_hosts(&unknown)),
    }
}

/// The DataNodes that hold some of the bytes.
fn holders(scanned: &Scanned) -> BTreeSet<&DataNodeId> {
    let groups = scanned.paths.values().flat_map(|path| path.groups.keys());
    groups.flat_map(|holders| holders.iter()).collect()
}

fn identify(
    wanted: &WantedHdfs,
    data_nodes: &BTreeMap<DataNodeId, DataNode>,
    nodes: &[Arc<Node>],
    pods: &[Arc<Pod>],
) -> Identified {
    match &wanted.node_names {
        WantedNames::Hostname => {
            let named: Vec<_> = nodes.iter().map(|node| by_names(node)).collect();
            by_host_name(data_nodes.values(), &named)
        }
        WantedNames::Label(label) => {
            let named: Vec<_> = nodes
                .iter()
                .filter_map(|node| by_label(node, label))
                .collect();
            by_host_name(data_nodes.values(), &named)
        }
        WantedNames::Pod => {
            let pods: Vec<_> = pods.iter().filter_map(|pod| data_node_pod(pod)).collect();
            by_pod(data_nodes.values(), &pods)
        }
    }
}

fn by_names(node: &Node) -> NamedNode {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_ref());
    let addresses = addresses.into_iter().flatten();
    let addresses = addresses.filter(|address| ADDRESSES.contains(&address.type_.as_str()));
    let mut names = vec![node.name_any()];
    names.extend(addresses.map(|address| address.address.clone()));
    NamedNode {
        node: node.name_any(),
        names,
    }
}

fn by_label(node: &Node, label: &str) -> Option<NamedNode> {
    let value = node.labels().get(label)?;
    Some(NamedNode {
        node: node.name_any(),
        names: vec![value.clone()],
    })
}

fn data_node_pod(pod: &Pod) -> Option<DataNodePod> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|address| &address.ip);
    let addresses: BTreeSet<IpAddr> = all
        .chain(&status.pod_ip)
        .filter_map(|address| address.parse().ok())
        .collect();
    Some(DataNodePod {
        name: pod.name_any(),
        hostname: spec.hostname.clone(),
        addresses: addresses.into_iter().collect(),
        node: spec.node_name.clone()?,
    })
}

/// The holders that lead to no node or to several, and what is to be said of each.
fn unknown(
    identified: &Identified,
    holders: &BTreeSet<&DataNodeId>,
) -> BTreeMap<DataNodeId, String> {
    let unmapped = identified.unmapped.iter().map(|data_node| {
        let message = format!("DataNode {data_node} leads to no Kubernetes node");
        (data_node, message)
    });
    let ambiguous = identified
        .ambiguous
        .iter()
        .map(|ambiguous| (&ambiguous.data_node, ambiguous.to_string()));
    let unknown = unmapped.chain(ambiguous);
    unknown
        .filter(|(data_node, _)| holders.contains(data_node))
        .map(|(data_node, message)| (data_node.clone(), message))
        .collect()
}

/// Takes out the DataNodes whose copies do not count: those that are not alive, which a path that
/// was read earlier may still name, and those on nodes that are not ready. The latter nodes, as far
/// as they hold something.
fn leave_out(
    identified: &mut Identified,
    scanned: &Scanned,
    holders: &BTreeSet<&DataNodeId>,
    nodes: &[Arc<Node>],
) -> BTreeSet<String> {
    let ready: BTreeSet<String> = nodes
        .iter()
        .filter(|node| is_ready(node))
        .map(|node| node.name_any())
        .collect();
    let mut not_ready = BTreeSet::new();
    identified.nodes.retain(|data_node, node| {
        let found = scanned.data_nodes.get(data_node);
        let alive = found.is_some_and(|found| found.state.counts());
        let usable = ready.contains(node);
        if alive && !usable && holders.contains(data_node) {
            not_ready.insert(node.clone());
        }
        alive && usable
    });
    not_ready
}

fn places(wanted: &WantedHdfs, scanned: &Scanned, identified: &Identified) -> Places {
    let part = |path: &String| match scanned.paths.get(path) {
        Some(found) => Part {
            name: path.clone(),
            bytes: found.bytes,
            groups: identified.by_node(found),
        },
        None => Part {
            name: path.clone(),
            ..Part::default()
        },
    };
    let sum = |of: fn(&PathScan) -> u64| total(scanned.paths.values().map(of));
    let mut remarks = Vec::new();
    if let coded @ 1.. = sum(|path| path.erasure_coded) {
        remarks.push(format!(
            "{} are erasure-coded, so no node has them",
            Size(coded)
        ));
    }
    if let missing @ 1.. = sum(|path| path.missing) {
        remarks.push(format!("{} have no copy that counts", Size(missing)));
    }
    if let open @ 1.. = sum(|path| path.under_construction) {
        remarks.push(match open {
            1 => "1 file is being written".to_owned(),
            _ => format!("{} are being written", counted(open, "file")),
        });
    }
    if scanned.safe_mode.is_some() {
        remarks.push("the NameNode is in safe mode, and may not know all copies yet".to_owned());
    }
    Places {
        located: Arc::new(Located {
            parts: wanted.paths.iter().map(part).collect(),
        }),
        counts: Counts::Hdfs {
            files: sum(|path| path.files),
            blocks: sum(|path| path.blocks),
        },
        remarks,
        ..Places::default()
    }
}

fn problem((path, error): &(String, PathError)) -> DatasetProblem {
    DatasetProblem {
        name: path.clone(),
        message: error.to_string(),
    }
}

/// What a scan that found nothing means.
fn failed(scanned: &Scanned) -> Option<Trouble> {
    let failure = scanned.failure.as_ref()?;
    let (progress, reason) = match failure {
        Failure::Authorities { .. } => (Progress::Stalled, reason::CONFIG_MAP_NOT_FOUND),
        Failure::ApiServer(_) => (Progress::Reconciling, reason::API_ERROR),
        Failure::Source(_) => (Progress::Stalled, reason::INVALID_PARAMETERS),
        Failure::Scan(ScanError::TooMany { .. } | ScanError::TooVaried { .. }) => {
            (Progress::Stalled, reason::TOO_MANY_FILES)
        }
        Failure::Scan(ScanError::NoNameNode(servers)) => {
            let refused =
                |(_, error): &(String, ServerError)| matches!(error, ServerError::Refused { .. });
            match servers.iter().any(refused) {
                true => (Progress::Stalled, reason::ADDRESS_REFUSED),
                false => (Progress::Reconciling, reason::NAME_NODE_UNAVAILABLE),
            }
        }
    };
    Some(Trouble {
        summary: Summary {
            progress,
            reason,
            message: failure.to_string(),
        },
        unanswered: true,
    })
}

/// What the paths mean that could not be looked at, the first by what has to be done about it.
fn paths(scanned: &Scanned) -> Option<Trouble> {
    let of = |wanted: &'static str| {
        let problems = scanned.problems.iter();
        let problems = problems.filter(|(_, error)| meaning(error).1 == wanted);
        let messages: Vec<_> = problems.map(|(_, error)| error.to_string()).collect();
        first_of(&messages)
    };
    let reasons = [reason::PATH_UNREADABLE, reason::NAME_NODE_UNAVAILABLE];
    let (reason, message) = reasons
        .into_iter()
        .find_map(|reason| Some((reason, of(reason)?)))?;
    let mut errors = scanned.problems.iter().map(|(_, error)| error);
    let (progress, _) = errors
        .clone()
        .map(meaning)
        .find(|(_, found)| *found == reason)?;
    Some(Trouble {
        summary: Summary {
            progress,
            reason,
            message,
        },
        unanswered: errors.any(|error| !super::scans::is_answer(error)),
    })
}

fn meaning(error: &PathError) -> (Progress, &'static str) {
    match error {
        PathError::Unusable { .. } | PathError::Missing(_) | PathError::Denied { .. } => {
            (Progress::Stalled, reason::PATH_UNREADABLE)
        }
        PathError::SafeMode { .. }
        | PathError::TooLarge { .. }
        | PathError::Stuck { .. }
        | PathError::Answer { .. }
        | PathError::Unsupported { .. }
        | PathError::Remote { .. } => (Progress::Reconciling, reason::NAME_NODE_UNAVAILABLE),
    }
}

fn unknown_hosts(unknown: &BTreeMap<DataNodeId, String>) -> Option<Trouble> {
    let messages: Vec<String> = unknown.values().cloned().collect();
    let (first, others) = messages.split_first()?;
    let others = match others.len() {
        0 => String::new(),
        others => format!(" (and {others} more, see status.unknownDataNodes)"),
    };
    Some(Trouble {
        summary: Summary {
            progress: Progress::Stalled,
            reason: reason::DATA_NODE_UNKNOWN,
            message: format!("{first}{others}; what it holds counts as on no node"),
        },
        unanswered: false,
    })
}
