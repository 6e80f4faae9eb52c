use std::collections::BTreeMap;
use std::sync::Arc;

use crate::data_node::{DataNode, DataNodeId, Holders};
use crate::error::{PathError, ScanError, SourceError};
use crate::policy::AddressPolicy;
use crate::source::{Settings, Source};

/// Asks one HDFS where the bytes of paths are, and remembers from scan to scan what has not changed.
#[derive(Debug)]
pub struct Scanner {}

/// What a scan found out. Two scans of the same state are equal, in whatever order the server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The paths that were read, in the order in which they were asked for.
    pub paths: Vec<PathScan>,
    /// The paths that were not, and why, in the same order.
    pub problems: Vec<(String, PathError)>,
    /// Every DataNode that the NameNode knows, or that holds a block.
    pub data_nodes: BTreeMap<DataNodeId, DataNode>,
    /// What the NameNode says of its safe mode. Locations may be incomplete then.
    pub safe_mode: Option<String>,
    /// Whether the NameNode told which DataNodes are alive. If not, all that it names count.
    pub liveness_known: bool,
}

/// Where the bytes of one path are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PathScan {
    /// The path, as it was asked for.
    pub path: String,
    /// All bytes, each counted once however many copies there are; of files being written, those that are known.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Blocks, or block groups where bytes are erasure-coded.
    pub blocks: u64,
    /// Bytes by the DataNodes that hold a copy of them and count. The empty set stands for bytes on no DataNode alone:
    /// missing, corrupt or erasure-coded ones.
    pub groups: BTreeMap<Holders, u64>,
    /// Files that are being written.
    pub under_construction: u64,
    /// Bytes that are erasure-coded: no DataNode holds a whole block.
    pub erasure_coded: u64,
    /// Bytes without a copy that counts.
    pub missing: u64,
}

/// What a scan cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// HTTP requests.
    pub requests: u64,
    /// Files whose locations were asked for.
    pub asked: u64,
    /// Files whose locations were remembered.
    pub remembered: u64,
}

impl Scanner {
    /// Checks the source. Nothing is connected to yet.
    pub fn new(
        source: &Source,
        policy: Arc<AddressPolicy>,
        settings: Settings,
    ) -> Result<Scanner, SourceError> {
        let _ = (source, policy, settings);
        Ok(Scanner {})
    }

    /// Asks where the bytes of the paths are. A failing path does not keep the others from being read.
    pub async fn scan(&mut self, paths: &[String]) -> Result<Scan, ScanError> {
        let _ = paths;
        Ok(Scan::default())
    }

    /// What the last scan cost.
    pub fn effort(&self) -> Effort {
        Effort::default()
    }
}

impl Scan {
    /// A short text that differs when bytes are elsewhere. It tells nothing about DataNodes that hold nothing.
    pub fn fingerprint(&self) -> String {
        String::new()
    }
}
