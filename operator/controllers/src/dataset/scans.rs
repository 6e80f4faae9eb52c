//! Scans of HDFS: at most some at a time, each Dataset's with what it remembers.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use outrigger_hdfs::{
    AddressPolicy, DataNode, DataNodeId, Effort, PathError, PathScan, Scan, ScanError, Scanner,
    Settings, Source, SourceError,
};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::turns::Turns;
use super::validate::WantedHdfs;

/// The scans of all Datasets.
#[derive(Default)]
pub(super) struct Scans {
    /// What is remembered of the scans of each Dataset, by its UID.
    remembered: Mutex<HashMap<String, Arc<tokio::sync::Mutex<Scanned>>>>,
    pub(super) turns: Turns,
}

/// What the scans of one Dataset found.
#[derive(Default)]
pub(super) struct Scanned {
    /// The NameNodes that all of this is about.
    name_nodes: Vec<String>,
    /// Who asks, with what it was made for.
    scanner: Option<(Source, Settings, Scanner)>,
    /// Each path as it was found last. A path that cannot be looked at just now is as it was.
    pub(super) paths: BTreeMap<String, PathScan>,
    /// The DataNodes, as the last scan that succeeded found them.
    pub(super) data_nodes: BTreeMap<DataNodeId, DataNode>,
    /// The paths that the last scan that succeeded could not look at, and why.
    pub(super) problems: Vec<(String, PathError)>,
    /// What the NameNode says of its safe mode.
    pub(super) safe_mode: Option<String>,
    /// Why the last scan failed.
    pub(super) failure: Option<Failure>,
    /// When the last scan began that succeeded.
    pub(super) begun: Option<Timestamp>,
    /// When to scan next, for which generation of the spec.
    pub(super) due: Option<(Option<i64>, Instant)>,
}

/// Why a scan found nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error(
        "hdfs.tls.caConfigMapRef names ConfigMap \"{name}\", which {why}; allowed is a ConfigMap of namespace {namespace} with the authorities to trust in its key ca.crt"
    )]
    Authorities {
        namespace: String,
        name: String,
        why: &'static str,
    },
    #[error("the API server's own address, which is never asked for data, cannot be found: {0}")]
    ApiServer(String),
    #[error("hdfs cannot be used: {0}")]
    Source(#[from] SourceError),
    #[error("{0}")]
    Scan(#[from] ScanError),
}

impl Scans {
    /// What is remembered of a Dataset. Whoever looks at it keeps others out meanwhile.
    pub(super) fn of(&self, uid: &str) -> Arc<tokio::sync::Mutex<Scanned>> {
        let mut remembered = self.remembered.lock();
        Arc::clone(remembered.entry(uid.to_owned()).or_default())
    }

    /// A Dataset is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.remembered.lock().remove(uid);
    }
}

impl Scanned {
    /// Whether the time has come to ask again: it is the first time, another spec, or the interval
    /// is over.
    pub(super) fn is_due(&self, generation: Option<i64>) -> bool {
        match self.due {
            Some((of, at)) => of != generation || at <= Instant::now(),
            None => true,
        }
    }

    /// Whether no scan has ended yet.
    pub(super) fn is_first(&self) -> bool {
        self.begun.is_none() && self.failure.is_none()
    }

    /// Forgets what is not about these paths and, if none of these NameNodes was asked before,
    /// everything. Whether there was nothing to keep.
    pub(super) fn keep_only(&mut self, wanted: &WantedHdfs) -> bool {
        let mut former = self.name_nodes.iter();
        let afresh = !former.any(|address| wanted.name_nodes.contains(address));
        if afresh {
            *self = Scanned::default();
        }
        self.name_nodes.clone_from(&wanted.name_nodes);
        self.paths.retain(|path, _| wanted.paths.contains(path));
        self.problems
            .retain(|(path, _)| wanted.paths.contains(path));
        afresh
    }

    /// Whether anything is known of where bytes are, such as that a path does not exist.
    pub(super) fn knows_anything(&self) -> bool {
        !self.paths.is_empty() || self.problems.iter().any(|(_, error)| is_answer(error))
    }

    /// Whether the next scan may find out more though nobody mends anything.
    pub(super) fn may_pass(&self) -> bool {
        match &self.failure {
            Some(Failure::Scan(ScanError::TooMany { .. } | ScanError::TooVaried { .. })) => false,
            Some(_) => true,
            None => self.problems.iter().any(|(_, error)| !is_answer(error)),
        }
    }

    /// Asks where the bytes are, and remembers it. What it cost, unless there was no answer.
    pub(super) async fn scan(
        &mut self,
        wanted: &WantedHdfs,
        authorities: Option<Vec<u8>>,
        policy: &Arc<AddressPolicy>,
        now: Timestamp,
    ) -> Option<Effort> {
        match self.ask(wanted, authorities, policy).await {
            Ok((scan, effort)) => {
                self.learn(scan, now);
                Some(effort)
            }
            Err(failure) => {
                self.failure = Some(failure);
                None
            }
        }
    }

    async fn ask(
        &mut self,
        wanted: &WantedHdfs,
        authorities: Option<Vec<u8>>,
        policy: &Arc<AddressPolicy>,
    ) -> Result<(Scan, Effort), Failure> {
        let scanner = self.scanner(wanted, authorities, policy)?;
        let scan = scanner.scan(&wanted.paths).await?;
        Ok((scan, scanner.effort()))
    }

    fn learn(&mut self, scan: Scan, now: Timestamp) {
        let Scan {
            paths,
            problems,
            data_nodes,
            safe_mode,
            liveness_known: _,
        } = scan;
        self.failure = None;
        self.begun = Some(now);
        self.data_nodes = data_nodes;
        self.safe_mode = safe_mode;
        for path in paths {
            self.paths.insert(path.path.clone(), path);
        }
        for (path, _) in problems.iter().filter(|(_, error)| is_answer(error)) {
            self.paths.remove(path);
        }
        self.problems = problems;
    }

    /// The scanner of before, if it was made for the same.
    fn scanner(
        &mut self,
        wanted: &WantedHdfs,
        authorities: Option<Vec<u8>>,
        policy: &Arc<AddressPolicy>,
    ) -> Result<&mut Scanner, SourceError> {
        let source = Source {
            name_nodes: wanted.name_nodes.clone(),
            user: wanted.user.clone(),
            authorities,
        };
        let fits = |(of, settings, _): &(Source, Settings, Scanner)| {
            *of == source && *settings == wanted.settings
        };
        let former = self.scanner.take().filter(fits);
        let scanner = match former {
            Some((_, _, scanner)) => scanner,
            None => Scanner::new(&source, Arc::clone(policy), wanted.settings)?,
        };
        let (_, _, scanner) = self.scanner.insert((source, wanted.settings, scanner));
        Ok(scanner)
    }
}

/// Whether a path's error says what is there: nothing that could be read. What was found before is
/// no more, then.
pub(super) fn is_answer(error: &PathError) -> bool {
    match error {
        PathError::Unusable { .. } | PathError::Missing(_) | PathError::Denied { .. } => true,
        PathError::SafeMode { .. }
        | PathError::TooLarge { .. }
        | PathError::Stuck { .. }
        | PathError::Answer { .. }
        | PathError::Unsupported { .. }
        | PathError::Remote { .. } => false,
    }
}
