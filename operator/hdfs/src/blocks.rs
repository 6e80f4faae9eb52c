//! Where the blocks of one file are.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use crate::answer::{BlockLocation, FileBlocks, FileStatus, Located, LocatedBlock};
use crate::cache::{Bytes, Interner, Places};
use crate::data_node::DataNodeId;
use crate::error::{PathError, ScanError};
use crate::liveness::{DataNodes, in_service, split};
use crate::name_nodes::Operation::{self, BlockLocations, FileBlockLocations};
use crate::name_nodes::{Question, Reply, Trouble};
use crate::path::HdfsPath;
use crate::session::{Session, add};

/// Blocks in one answer, which keeps it far below its limit: a block takes about 400 bytes, or
/// 3 KiB where the answer says more of its copies.
const AT_ONCE: u64 = 1000;

/// What was found out about a file.
#[derive(Debug)]
pub(crate) struct Found {
    /// The bytes that are known.
    pub(crate) length: u64,
    pub(crate) under_construction: bool,
    pub(crate) places: Places,
}

/// A block, in whichever form it was told.
struct Block {
    offset: u64,
    length: u64,
    holders: BTreeSet<DataNodeId>,
}

/// What the answers add up to.
#[derive(Debug, Default)]
struct Sum {
    length: u64,
    blocks: u32,
    unsettled: bool,
    under_construction: bool,
    bytes: BTreeMap<BTreeSet<DataNodeId>, u64>,
    /// Whether all answers say whether the file is being written.
    certain: bool,
}

impl Session<'_> {
    /// Asks where the blocks of a file are. `None` if the file is gone by now.
    ///
    /// A listing does not tell which files are being written, and neither does the newer operation.
    /// A new file has one time for both modification and access until it is closed; one that ends
    /// with a block may be about to go on; and one whose blocks do not add up to its length is
    /// written at this moment. For these, the older operation is asked, which says it, and has the
    /// longer answer.
    pub(crate) async fn blocks(
        &self,
        path: &HdfsPath,
        status: &FileStatus,
    ) -> Result<Option<Found>, Trouble> {
        match self.sum(path, status).await {
            Ok(sum) => Ok(Some(sum.found(self.cache.lock().holders())?)),
            Err(Trouble::Path(PathError::Missing(_))) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }

    async fn sum(&self, path: &HdfsPath, status: &FileStatus) -> Result<Sum, Trouble> {
        let whole = status.block_size == 0 || status.length.is_multiple_of(status.block_size);
        let unread = status.modification_time > status.access_time;
        let operations = match whole || !unread {
            true => [BlockLocations, FileBlockLocations],
            false => [FileBlockLocations, BlockLocations],
        };
        let sum = self.sum_by(&operations, path, status).await?;
        if sum.certain || sum.length == status.length {
            return Ok(sum);
        }
        match self.sum_by(&[BlockLocations], path, status).await {
            Err(Trouble::Path(PathError::Unsupported { .. })) => Ok(Sum {
                under_construction: true,
                ..sum
            }),
            told => told,
        }
    }

    /// Of large files, some blocks at a time.
    async fn sum_by(
        &self,
        operations: &[Operation],
        path: &HdfsPath,
        status: &FileStatus,
    ) -> Result<Sum, Trouble> {
        let stretch = status.block_size.saturating_mul(AT_ONCE);
        let pages = stretch > 0 && status.length > stretch;
        let mut sum = Sum {
            certain: true,
            ..Sum::default()
        };
        loop {
            let mut question = Question::new(path, operations);
            question.range = pages.then_some((sum.length, stretch));
            let reply = self.name_nodes.ask(&question).await?;
            let before = sum.length;
            {
                let mut data_nodes = self.data_nodes.lock();
                sum.add(reply, &mut data_nodes, path, status.replication)?;
                data_nodes.bounded()?;
            }
            // An answer without a further block ends it, whatever was listed.
            if !pages || sum.length == before || sum.length >= status.length {
                return Ok(sum);
            }
        }
    }
}

// === impl Sum ===

impl Sum {
    fn add(
        &mut self,
        reply: Reply,
        data_nodes: &mut DataNodes,
        path: &HdfsPath,
        replication: u32,
    ) -> Result<(), PathError> {
        let mut blocks: Vec<Block> = match reply.operation {
            BlockLocations => {
                let told = read::<Located>(&reply, path)?.located_blocks;
                self.under_construction |= told.is_under_construction;
                let blocks = told.located_blocks.into_iter();
                blocks.map(|block| located(block, data_nodes)).collect()
            }
            _ => {
                self.certain = false;
                let told = read::<FileBlocks>(&reply, path)?.block_locations;
                let blocks = told.block_location.into_iter();
                let blocks = blocks.map(|block| location(block, data_nodes));
                blocks.collect::<Option<_>>().ok_or_else(|| {
                    let why = "hosts and names of a block do not match".to_owned();
                    unreadable(&reply, path, why)
                })?
            }
        };
        blocks.sort_by_key(|block| block.offset);
        for block in blocks {
            // Blocks are told whole, so two stretches may have one in common.
            if block.offset < self.length {
                continue;
            }
            self.unsettled |= block.holders.len() as u64 != u64::from(replication);
            self.length = self.length.saturating_add(block.length);
            self.blocks = self.blocks.saturating_add(1);
            add(self.bytes.entry(block.holders).or_default(), block.length);
        }
        Ok(())
    }

    fn found(self, interner: &mut Interner) -> Result<Found, ScanError> {
        let bytes = self.bytes.into_iter().filter(|(_, bytes)| *bytes > 0);
        let numbered = bytes.map(|(holders, bytes)| Ok((interner.number(holders)?, bytes)));
        let numbered = numbered.collect::<Result<Vec<_>, ScanError>>()?;
        let bytes = match numbered[..] {
            [(set, _)] => Bytes::All(set),
            _ => Bytes::Some(numbered.into()),
        };
        Ok(Found {
            length: self.length,
            under_construction: self.under_construction,
            places: Places {
                blocks: self.blocks,
                unsettled: u8::from(self.unsettled),
                bytes,
            },
        })
    }
}

/// From the newer operation. `None` if it does not tell of each copy both host and address.
fn location(block: BlockLocation, data_nodes: &mut DataNodes) -> Option<Block> {
    if block.hosts.len() != block.names.len() {
        return None;
    }
    let mut holders = BTreeSet::new();
    for (index, (host, name)) in block.hosts.iter().zip(&block.names).enumerate() {
        let (ip, port) = split(name)?;
        let rack = block.topology_paths.get(index);
        let rack = rack.and_then(|rack| Some(rack.rsplit_once('/')?.0));
        holders.extend(data_nodes.holder(host, ip, port, rack));
    }
    if block.corrupt {
        holders.clear();
    }
    Some(Block {
        offset: block.offset,
        length: block.length,
        holders,
    })
}

/// From the older operation.
fn located(block: LocatedBlock, data_nodes: &mut DataNodes) -> Block {
    let mut holders = BTreeSet::new();
    for copy in &block.locations {
        let rack = copy.network_location.as_deref();
        let holder = data_nodes.holder(&copy.host_name, &copy.ip_addr, copy.xfer_port, rack);
        let stays = copy.admin_state.as_deref().is_none_or(in_service);
        holders.extend(holder.filter(|_| stays));
    }
    if block.is_corrupt {
        holders.clear();
    }
    Block {
        offset: block.start_offset,
        length: block.block.num_bytes,
        holders,
    }
}

/// The form of an answer.
pub(crate) fn read<T: DeserializeOwned>(reply: &Reply, path: &HdfsPath) -> Result<T, PathError> {
    let told = serde_json::from_slice(&reply.body);
    told.map_err(|error| unreadable(reply, path, error.to_string()))
}

pub(crate) fn unreadable(reply: &Reply, path: &HdfsPath, why: String) -> PathError {
    PathError::Answer {
        path: path.to_string(),
        operation: reply.operation.name(),
        why,
    }
}
