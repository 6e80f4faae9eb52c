//! The forms of the NameNode's answers.

use std::collections::BTreeMap;

use serde::Deserialize;

/// An error.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoteError {
    pub(crate) remote_exception: RemoteException,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RemoteException {
    pub(crate) exception: String,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// Of `GETCONTENTSUMMARY`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Summary {
    pub(crate) content_summary: ContentSummary,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ContentSummary {
    pub(crate) file_count: u64,
}

/// Of `LISTSTATUS`: everything.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listing {
    pub(crate) file_statuses: FileStatuses,
}

/// Of `LISTSTATUS_BATCH`: a page.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Page {
    pub(crate) directory_listing: DirectoryListing,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DirectoryListing {
    pub(crate) partial_listing: Listing,
    pub(crate) remaining_entries: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileStatuses {
    pub(crate) file_status: Vec<FileStatus>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileStatus {
    /// Empty where the path itself is a file.
    pub(crate) path_suffix: String,
    #[serde(rename = "type")]
    pub(crate) kind: FileKind,
    pub(crate) length: u64,
    #[serde(default)]
    pub(crate) block_size: u64,
    /// In milliseconds; only compared.
    pub(crate) modification_time: u64,
    /// In milliseconds.
    #[serde(default)]
    pub(crate) access_time: u64,
    #[serde(default)]
    pub(crate) replication: u32,
    /// Whether the file is erasure-coded.
    #[serde(default)]
    pub(crate) ec_bit: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum FileKind {
    File,
    Directory,
    Symlink,
}

/// Of `GETFILEBLOCKLOCATIONS`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct FileBlocks {
    pub(crate) block_locations: BlockLocations,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct BlockLocations {
    pub(crate) block_location: Vec<BlockLocation>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockLocation {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    #[serde(default)]
    pub(crate) corrupt: bool,
    /// Host names, in the order of `names`.
    pub(crate) hosts: Vec<String>,
    /// `ADDRESS:PORT`.
    pub(crate) names: Vec<String>,
    /// `/RACK/ADDRESS:PORT`.
    #[serde(default)]
    pub(crate) topology_paths: Vec<String>,
}

/// Of `GET_BLOCK_LOCATIONS`, which is older, and says more.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Located {
    pub(crate) located_blocks: LocatedBlocks,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocatedBlocks {
    #[serde(default)]
    pub(crate) is_under_construction: bool,
    pub(crate) located_blocks: Vec<LocatedBlock>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LocatedBlock {
    pub(crate) block: Block,
    pub(crate) start_offset: u64,
    #[serde(default)]
    pub(crate) is_corrupt: bool,
    pub(crate) locations: Vec<Replica>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Block {
    pub(crate) num_bytes: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Replica {
    pub(crate) host_name: String,
    pub(crate) ip_addr: String,
    pub(crate) xfer_port: u16,
    #[serde(default)]
    pub(crate) network_location: Option<String>,
    #[serde(default)]
    pub(crate) admin_state: Option<String>,
}

/// Of `/jmx`: whatever beans match. Each is read for what is known of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Jmx {
    pub(crate) beans: Vec<Bean>,
}

/// `NameNodeInfo` and `NameNodeStatus` in one: a bean has what it has.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Bean {
    #[serde(rename = "name")]
    pub(crate) name: String,
    /// `active`, `standby`, `observer`.
    pub(crate) state: Option<String>,
    /// Empty when off.
    pub(crate) safemode: Option<String>,
    /// JSON in a text: [`Nodes`].
    pub(crate) live_nodes: Option<String>,
    /// JSON in a text: [`Nodes`].
    pub(crate) dead_nodes: Option<String>,
}

/// DataNodes by `HOST:PORT`.
pub(crate) type Nodes = BTreeMap<String, Node>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Node {
    /// `ADDRESS:PORT`.
    pub(crate) xferaddr: Option<String>,
    pub(crate) location: Option<String>,
    /// Seconds since it was heard of.
    pub(crate) last_contact: u64,
    /// `In Service`, `Decommission In Progress`, `Decommissioned`, `In Maintenance`…
    pub(crate) admin_state: Option<String>,
}
