use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use futures::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;

use crate::cache::Cache;
use crate::data_node::{DataNode, DataNodeId, Holders};
use crate::error::{PathError, ScanError, SourceError};
use crate::liveness::DataNodes;
use crate::name_nodes::{NameNodes, Trouble};
use crate::path::HdfsPath;
use crate::policy::AddressPolicy;
use crate::session::Session;
use crate::source::{Settings, Source};

/// Asks one HDFS where the bytes of paths are, and remembers from scan to scan what has not changed.
pub struct Scanner {
    name_nodes: NameNodes,
    cache: Mutex<Cache>,
    /// Those of the last scan.
    data_nodes: BTreeMap<DataNodeId, DataNode>,
    settings: Settings,
    effort: Effort,
}

/// What a scan found out. Two scans of the same state are equal, in whatever order the server answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The paths that were read, in the order in which they were asked for.
    pub paths: Vec<PathScan>,
    /// The paths that were not, and why, in the same order.
    pub problems: Vec<(String, PathError)>,
    /// Every DataNode that the NameNode told of, and every one that holds some of the bytes.
    pub data_nodes: BTreeMap<DataNodeId, DataNode>,
    /// What the NameNode says of its safe mode. Locations may be incomplete then.
    pub safe_mode: Option<String>,
    /// Whether the NameNode told which DataNodes are alive. If not, all that it names count.
    pub liveness_known: bool,
}

/// Where the bytes of one path are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
        Ok(Scanner {
            name_nodes: NameNodes::new(source, policy, &settings)?,
            cache: Mutex::new(Cache::new(settings.location_age)),
            data_nodes: BTreeMap::new(),
            settings,
            effort: Effort::default(),
        })
    }

    /// Asks where the bytes of the paths are. A path that cannot be read does not keep the others
    /// from being read. It may be dropped before it ends: what it found out is kept.
    pub async fn scan(&mut self, paths: &[String]) -> Result<Scan, ScanError> {
        let before = self.name_nodes.requests();
        let overview = self.name_nodes.overview().await?;
        let liveness_known = overview.data_nodes.is_some();
        let data_nodes = DataNodes::new(overview.data_nodes);
        data_nodes.bounded()?;
        self.cache.get_mut().begin(data_nodes.counting());
        let session = Session {
            name_nodes: &self.name_nodes,
            cache: &self.cache,
            data_nodes: Mutex::new(data_nodes),
            settings: &self.settings,
            complete: overview.safe_mode.is_none(),
            files: AtomicU64::default(),
            asked: AtomicU64::default(),
            remembered: AtomicU64::default(),
        };
        let counted = count(&session, paths).await?;
        let (read, problems) = read(&session, counted).await?;
        let (asked, remembered) = (session.asked.into_inner(), session.remembered.into_inner());
        let (told, seen) = session.data_nodes.into_inner().into_parts();
        // Those of files that were not asked about again are known from before.
        self.data_nodes.extend(seen);
        self.data_nodes = held(told, &read, &self.data_nodes);
        if problems.is_empty() {
            self.cache.get_mut().sweep();
        }
        self.effort = Effort {
            requests: self.name_nodes.requests() - before,
            asked,
            remembered,
        };
        Ok(Scan {
            paths: read,
            problems,
            data_nodes: self.data_nodes.clone(),
            safe_mode: overview.safe_mode,
            liveness_known,
        })
    }

    /// What the last scan that ended took.
    pub fn effort(&self) -> Effort {
        self.effort
    }

    /// Files whose locations are remembered.
    pub fn remembered(&self) -> usize {
        self.cache.lock().len()
    }
}

impl fmt::Debug for Scanner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scanner")
            .field("settings", &self.settings)
            .field("effort", &self.effort)
            .finish_non_exhaustive()
    }
}

/// A path as it was written, and what is known of it.
type Counted<'a> = (&'a String, Result<HdfsPath, PathError>);

/// Counts the files below all paths, before any is listed.
async fn count<'a>(
    session: &Session<'_>,
    paths: &'a [String],
) -> Result<Vec<Counted<'a>>, ScanError> {
    let questions: Vec<_> = paths
        .iter()
        .map(|asked| count_one(session, asked).boxed())
        .collect();
    let mut counts = stream::iter(questions).buffered(session.settings.concurrency.max(1));
    let mut counted = Vec::with_capacity(paths.len());
    let (mut found, mut most) = (0_u64, (0, ""));
    let mut asked = paths.iter();
    while let (Some(count), Some(asked)) = (counts.next().await, asked.next()) {
        let path = match count {
            Ok((path, count)) => {
                found = found.saturating_add(count);
                if count > most.0 {
                    most = (count, asked);
                }
                Ok(path)
            }
            Err(Trouble::Path(error)) => Err(error),
            Err(Trouble::Scan(error)) => return Err(error),
        };
        counted.push((asked, path));
    }
    if found > session.settings.max_files {
        return Err(ScanError::TooMany {
            what: "files",
            path: most.1.to_owned(),
            most: most.0,
            found,
            allowed: session.settings.max_files,
        });
    }
    Ok(counted)
}

async fn count_one(session: &Session<'_>, asked: &str) -> Result<(HdfsPath, u64), Trouble> {
    let path = HdfsPath::parse(asked)?;
    let count = session.count(&path).await?;
    Ok((path, count))
}

/// Reads the paths that could be counted.
async fn read(
    session: &Session<'_>,
    counted: Vec<Counted<'_>>,
) -> Result<(Vec<PathScan>, Vec<(String, PathError)>), ScanError> {
    let reads: Vec<_> = counted
        .into_iter()
        .map(|(asked, path)| {
            async move {
                let told = match path {
                    Ok(path) => session.path(asked, &path).await,
                    Err(error) => Err(error.into()),
                };
                (asked, told)
            }
            .boxed()
        })
        .collect();
    let mut reads = stream::iter(reads).buffered(session.settings.concurrency.max(1));
    let (mut read, mut problems) = (Vec::new(), Vec::new());
    while let Some((asked, told)) = reads.next().await {
        match told {
            Ok(scan) => read.push(scan),
            Err(Trouble::Path(error)) => problems.push((asked.clone(), error)),
            Err(Trouble::Scan(error)) => return Err(error),
        }
    }
    Ok((read, problems))
}

/// The DataNodes that the NameNode told of, and others that hold bytes.
fn held(
    mut told: BTreeMap<DataNodeId, DataNode>,
    paths: &[PathScan],
    others: &BTreeMap<DataNodeId, DataNode>,
) -> BTreeMap<DataNodeId, DataNode> {
    let groups = paths.iter().flat_map(|path| path.groups.keys());
    for holder in groups.flat_map(|holders| holders.iter()) {
        if let (false, Some(node)) = (told.contains_key(holder), others.get(holder)) {
            told.insert(holder.clone(), node.clone());
        }
    }
    told
}
