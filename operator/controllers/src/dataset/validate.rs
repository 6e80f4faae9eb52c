use std::collections::BTreeSet;
use std::time::Duration;

use kube::core::Selector;
use kube::core::labels::ParseExpressionError;
use outrigger_api::{
    ClaimsSource, DatasetSpec, HdfsSource, HdfsTls, MAX_FILES, NodeNames, NodeNamesFrom,
    REQUESTS_PER_SECOND,
};
use outrigger_hdfs::Settings;

/// What a spec asks for, with nothing left open.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    Claims(WantedClaims),
    Hdfs(WantedHdfs),
}

/// Which claims of the namespace.
#[derive(Clone, Debug)]
pub(super) enum WantedClaims {
    Names(BTreeSet<String>),
    Labels(Selector),
}

/// What to ask HDFS.
#[derive(Clone, Debug)]
pub(super) struct WantedHdfs {
    pub(super) name_nodes: Vec<String>,
    pub(super) user: Option<String>,
    /// The ConfigMap with the authorities to trust.
    pub(super) authorities: Option<String>,
    /// Each once, in the order in which the spec has them first.
    pub(super) paths: Vec<String>,
    pub(super) node_names: WantedNames,
    pub(super) settings: Settings,
    /// From the end of a scan to the next one.
    pub(super) interval: Duration,
}

/// What leads from a DataNode to its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WantedNames {
    Hostname,
    Pod,
    Label(String),
}

/// A spec that the API server would have refused, but for a newer or an older definition of the
/// kind.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidDataset {
    #[error("exactly one of persistentVolumeClaims and hdfs must be set")]
    Sources,
    #[error(
        "exactly one of persistentVolumeClaims.names and persistentVolumeClaims.selector must be set"
    )]
    Claims,
    #[error("persistentVolumeClaims.selector cannot be used: {0}")]
    Selector(#[from] ParseExpressionError),
    #[error("hdfs.nodeNames.label must be set if nodeNames.from is Label, and only then")]
    Label,
}

/// Checks a spec, and fills in what is absent.
pub(super) fn validate(spec: &DatasetSpec) -> Result<Wanted, InvalidDataset> {
    let DatasetSpec {
        persistent_volume_claims,
        hdfs,
        refresh: _,
    } = spec;
    match (persistent_volume_claims, hdfs) {
        (Some(claims), None) => Ok(Wanted::Claims(wanted_claims(claims)?)),
        (None, Some(hdfs)) => {
            let interval = Duration::from_secs(spec.refresh_seconds());
            Ok(Wanted::Hdfs(wanted_hdfs(hdfs, interval)?))
        }
        (Some(_), Some(_)) | (None, None) => Err(InvalidDataset::Sources),
    }
}

fn wanted_claims(source: &ClaimsSource) -> Result<WantedClaims, InvalidDataset> {
    let ClaimsSource { names, selector } = source;
    match (names, selector) {
        (Some(names), None) => Ok(WantedClaims::Names(names.clone())),
        (None, Some(selector)) => Ok(WantedClaims::Labels(selector.clone().try_into()?)),
        (Some(_), Some(_)) | (None, None) => Err(InvalidDataset::Claims),
    }
}

fn wanted_hdfs(source: &HdfsSource, interval: Duration) -> Result<WantedHdfs, InvalidDataset> {
    let HdfsSource {
        name_nodes,
        paths,
        user,
        tls,
        node_names,
        max_files,
        requests_per_second,
    } = source;
    let mut seen = BTreeSet::new();
    let once = paths.iter().filter(|path| seen.insert(path.as_str()));
    let requests = requests_per_second.unwrap_or(REQUESTS_PER_SECOND);
    Ok(WantedHdfs {
        name_nodes: name_nodes.clone(),
        user: user.clone(),
        authorities: tls.as_ref().map(|tls| {
            let HdfsTls { ca_config_map_ref } = tls;
            ca_config_map_ref.name.clone()
        }),
        paths: once.cloned().collect(),
        node_names: wanted_names(node_names.as_ref())?,
        settings: Settings::new(
            u64::try_from(max_files.unwrap_or(MAX_FILES)).unwrap_or_default(),
            u32::try_from(requests).unwrap_or(1).max(1),
        ),
        interval,
    })
}

fn wanted_names(node_names: Option<&NodeNames>) -> Result<WantedNames, InvalidDataset> {
    let Some(NodeNames { from, label }) = node_names else {
        return Ok(WantedNames::Hostname);
    };
    match (from, label) {
        (NodeNamesFrom::Hostname, None) => Ok(WantedNames::Hostname),
        (NodeNamesFrom::Pod, None) => Ok(WantedNames::Pod),
        (NodeNamesFrom::Label, Some(label)) => Ok(WantedNames::Label(label.clone())),
        _ => Err(InvalidDataset::Label),
    }
}

impl WantedClaims {
    /// For a sentence that says what is not there.
    pub(super) fn described(&self) -> String {
        match self {
            WantedClaims::Names(names) => {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                format!("one of the names {}", names.join(", "))
            }
            WantedClaims::Labels(selector) => format!("the labels {selector}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn wanted(spec: Value) -> Result<Wanted, InvalidDataset> {
        validate(&serde_json::from_value(spec).unwrap())
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let spec = json!({"hdfs": {"nameNodes": ["http://nn:9870"], "paths": ["/b", "/a", "/b"]}});
        let Ok(Wanted::Hdfs(hdfs)) = wanted(spec) else {
            panic!("no HDFS");
        };
        assert_eq!(hdfs.paths, ["/b", "/a"]);
        assert_eq!(hdfs.interval, Duration::from_secs(60));
        assert_eq!(hdfs.node_names, WantedNames::Hostname);
        assert_eq!(hdfs.settings.max_files, 200_000);
        assert_eq!(hdfs.settings.requests_per_second, 500);
    }

    #[test]
    fn two_sources_in_one_dataset_are_refused() {
        let both = json!({
            "hdfs": {"nameNodes": ["http://nn:9870"], "paths": ["/a"]},
            "persistentVolumeClaims": {"names": ["a"]},
        });
        for spec in [both, json!({})] {
            let error = wanted(spec).unwrap_err().to_string();
            assert_eq!(
                error,
                "exactly one of persistentVolumeClaims and hdfs must be set"
            );
        }
        let both = json!({"persistentVolumeClaims": {
            "names": ["a"], "selector": {"matchLabels": {"app": "a"}},
        }});
        assert!(matches!(wanted(both), Err(InvalidDataset::Claims)));
    }

    #[test]
    fn a_label_of_nodes_is_named_when_it_is_needed_and_only_then() {
        for (names, valid) in [
            (json!({"from": "Label", "label": "rack/host"}), true),
            (json!({"from": "Label"}), false),
            (json!({"from": "Pod", "label": "rack/host"}), false),
            (json!({"from": "Pod"}), true),
        ] {
            let spec = json!({"hdfs": {
                "nameNodes": ["http://nn:9870"], "paths": ["/a"], "nodeNames": names,
            }});
            assert_eq!(wanted(spec).is_ok(), valid);
        }
    }
}
