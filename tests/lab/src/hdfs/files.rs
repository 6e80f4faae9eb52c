//! Files with chosen blocks on chosen nodes, and where `hdfs fsck` finds blocks.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{DATA_PORT, Hdfs};
use crate::error::{Error, Result};
use crate::node::{self, NodeSpec};

/// The smallest block that HDFS takes here, in bytes.
const MIN_BLOCK: u64 = 1024;
/// A block is a multiple of what a checksum is of, in bytes.
const CHECKSUMMED: u64 = 512;

/// A file to be written with its blocks where they are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSpec {
    /// Its absolute path. What is there is replaced.
    pub path: String,
    /// The size of its blocks in bytes: a multiple of 512, at least 1024.
    pub block_size: u64,
    /// For each block, the nodes that hold a replica, by their indices in `Lab::nodes`; every block
    /// has the same number of them. Empty for an empty file.
    pub blocks: Vec<Vec<usize>>,
    /// Its bytes, which end in the last block; none are zeros that fill all blocks.
    pub content: Option<Vec<u8>>,
}

impl FileSpec {
    /// A file of zeros that fills its blocks.
    pub fn new(path: impl Into<String>, block_size: u64, blocks: Vec<Vec<usize>>) -> Self {
        Self {
            path: path.into(),
            block_size,
            blocks,
            content: None,
        }
    }

    /// The file with these bytes.
    #[must_use]
    pub fn with_content(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.content = Some(bytes.into());
        self
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        let full = self.block_size * self.blocks.len() as u64;
        let content = self.content.as_ref();
        content.map_or(full, |bytes| bytes.len() as u64)
    }

    /// The file as the client takes it: runs of blocks that lie on the same nodes.
    pub(super) fn request(&self) -> Result<Value> {
        self.check().map_err(|reason| Error::FileSpec {
            path: self.path.clone(),
            reason,
        })?;
        let nodes: Vec<_> = node::all().collect();
        let mut runs = Vec::new();
        let mut offset = 0;
        for run in self.blocks.chunk_by(|one, next| one == next) {
            let bytes = (self.block_size * run.len() as u64).min(self.length() - offset);
            let address = |&index: &usize| nodes[index].address().to_string();
            let nodes: Vec<_> = run[0].iter().map(address).collect();
            runs.push(
                json!({ "offset": offset, "bytes": bytes, "nodes": nodes, "port": DATA_PORT }),
            );
            offset += bytes;
        }
        Ok(json!({
            "path": self.path,
            "blockSize": self.block_size,
            "replication": self.blocks.first().map_or(1, Vec::len),
            "runs": runs,
            "content": self.content.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)),
        }))
    }

    fn check(&self) -> Result<(), String> {
        let (size, count) = (self.block_size, self.blocks.len() as u64);
        if !self.path.starts_with('/') {
            return Err("give an absolute path".to_owned());
        }
        if size < MIN_BLOCK || size % CHECKSUMMED != 0 {
            return Err(format!(
                "its block size is {size}; give a multiple of {CHECKSUMMED} from {MIN_BLOCK} on"
            ));
        }
        let length = self.length();
        if length.div_ceil(size) != count {
            return Err(format!(
                "{length} bytes do not end in the last of {count} blocks of {size}"
            ));
        }
        let nodes = node::all().count();
        let replicas = self.blocks.first().map_or(0, Vec::len);
        for (number, block) in self.blocks.iter().enumerate() {
            if let Some(unknown) = block.iter().find(|index| **index >= nodes) {
                let last = nodes - 1;
                return Err(format!(
                    "block {number} is wanted on node {unknown}; there are 0 to {last}"
                ));
            }
            let mut distinct = block.clone();
            distinct.sort_unstable();
            distinct.dedup();
            if block.is_empty() || distinct.len() != block.len() {
                return Err(format!(
                    "block {number} is wanted on nodes {block:?}; name at least one, and each once"
                ));
            }
            if block.len() != replicas {
                let found = block.len();
                return Err(format!(
                    "block {number} is wanted on {found} nodes, block 0 on {replicas}; \
                     a file has one number of replicas"
                ));
            }
        }
        Ok(())
    }
}

/// A block of a file and the nodes where `hdfs fsck` finds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FsckBlock {
    /// The file's path.
    pub file: String,
    /// The block's number in the file, from 0.
    pub block: usize,
    /// Its length in bytes.
    pub bytes: u64,
    /// The names of the nodes that hold a replica, sorted; of an erasure-coded file, those that
    /// hold a part of it.
    pub nodes: Vec<String>,
}

impl Hdfs {
    /// Writes files, each block on exactly the nodes that are wanted, and waits until all replicas
    /// are reported. What is at their paths is replaced.
    ///
    /// # Errors
    /// If a file cannot be so, or a block came to lie elsewhere, because a node's DataNode is dead
    /// or leaves.
    pub fn put(&self, files: &[FileSpec]) -> Result<()> {
        let files: Vec<Value> = files.iter().map(FileSpec::request).collect::<Result<_>>()?;
        self.ask("put files", &json!({ "request": "put", "files": files }))?;
        Ok(())
    }

    /// Writes a file and keeps it open, as one that is being written, until
    /// [`close`](Self::close); it stays unfinished if this value is dropped before.
    ///
    /// # Errors
    /// If the file cannot be so, or HDFS refuses it.
    pub fn open_file(&self, file: &FileSpec) -> Result<()> {
        let request = json!({ "request": "open", "file": file.request()? });
        self.ask(&format!("write {:?}", file.path), &request)?;
        Ok(())
    }

    /// Ends the writing of a file that this value keeps open.
    ///
    /// # Errors
    /// If it keeps none of this path open, or HDFS refuses it.
    pub fn close(&self, path: &str) -> Result<()> {
        self.ask_of_path("close", path)
    }

    /// Writes an erasure-coded file, by a policy that four DataNodes can serve: `XOR-2-1-1024k`.
    /// HDFS chooses the nodes.
    ///
    /// # Errors
    /// If HDFS refuses it.
    pub fn put_erasure_coded(&self, path: &str, policy: &str, content: &[u8]) -> Result<()> {
        let content = BASE64_STANDARD.encode(content);
        let request = json!({
            "request": "put-erasure-coded", "path": path, "policy": policy, "content": content,
        });
        self.ask(&format!("write {path:?} by {policy}"), &request)?;
        Ok(())
    }

    /// Makes a directory and those above it.
    ///
    /// # Errors
    /// If HDFS refuses it.
    pub fn make_directory(&self, path: &str) -> Result<()> {
        self.ask_of_path("mkdirs", path)
    }

    /// Removes a file, or a directory with all in it; it is fine if there is none.
    ///
    /// # Errors
    /// If HDFS refuses it.
    pub fn delete(&self, path: &str) -> Result<()> {
        self.ask_of_path("delete", path)
    }

    /// Where Hadoop's `hdfs fsck PATH -files -blocks -locations -openforwrite` finds blocks: in the
    /// order of paths and blocks.
    ///
    /// # Errors
    /// If the path does not exist, or the command fails.
    pub fn fsck(&self, path: &str) -> Result<Vec<FsckBlock>> {
        let text = self.fsck_text(path)?;
        if !text.contains("The filesystem under path") {
            return Err(Error::Hdfs {
                action: format!("run `fsck {path}`"),
                said: text,
            });
        }
        Ok(parse_fsck(&text))
    }

    /// What the command of [`fsck`](Self::fsck) prints.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn fsck_text(&self, path: &str) -> Result<String> {
        let arguments = [path, "-files", "-blocks", "-locations", "-openforwrite"];
        self.with_client(|client| client.tool("fsck", &arguments, true))
    }
}

/// Reads what `hdfs fsck -files -blocks -locations` prints.
pub(super) fn parse_fsck(text: &str) -> Vec<FsckBlock> {
    let nodes: Vec<_> = node::all().collect();
    let mut file = "";
    let mut found = Vec::new();
    for line in text.lines() {
        // `/data/f1 3145728 bytes, replicated: replication=1, 3 block(s):  OK`
        if let Some((head, _)) = line.rsplit_once(" bytes, ")
            && let Some((path, _)) = head.rsplit_once(' ')
            && path.starts_with('/')
        {
            file = path;
        } else if let Some(mut block) = parse_block(line, &nodes) {
            file.clone_into(&mut block.file);
            found.push(block);
        }
    }
    found
}

/// `0. BP-1-198.18.0.5-1:blk_1_1 len=1024 Live_repl=1  [DatanodeInfoWithStorage[198.18.0.11:9866,DS-1,DISK]]`
fn parse_block(line: &str, nodes: &[NodeSpec]) -> Option<FsckBlock> {
    let (number, rest) = line.split_once(". ")?;
    let block = number.trim().parse().ok()?;
    let (_, rest) = rest.split_once(" len=")?;
    let bytes = rest.split(' ').next()?.parse().ok()?;
    let names = rest.split("DatanodeInfoWithStorage[").skip(1);
    let mut nodes: Vec<_> = names
        .filter_map(|location| location.split(':').next())
        .filter_map(|address| {
            nodes
                .iter()
                .find(|node| node.address().to_string() == address)
        })
        .map(|node| node.name.clone())
        .collect();
    nodes.sort_unstable();
    Some(FsckBlock {
        file: String::new(),
        block,
        bytes,
        nodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(spec: &FileSpec) -> String {
        spec.request().unwrap_err().to_string()
    }

    #[test]
    fn blocks_on_the_same_nodes_are_written_in_one_go() {
        let blocks = vec![vec![0, 1], vec![0, 1], vec![3, 2]];
        let spec = FileSpec::new("/a", 1024, blocks).with_content(vec![7; 2500]);
        let request = spec.request().unwrap();
        assert_eq!(request["replication"], 2);
        let runs = request["runs"].as_array().unwrap();
        let told: Vec<_> = runs
            .iter()
            .map(|run| (&run["offset"], &run["bytes"], &run["nodes"][0]))
            .collect();
        assert_eq!(
            told,
            [
                (&json!(0), &json!(2048), &json!("198.18.0.11")),
                (&json!(2048), &json!(452), &json!("198.18.0.14"))
            ]
        );
    }

    #[test]
    fn a_file_that_cannot_be_is_refused_with_the_reason() {
        let spec = |blocks| FileSpec::new("/a", 1024, blocks);
        assert_eq!(
            refusal(&spec(vec![vec![4]])),
            "cannot put \"/a\": block 0 is wanted on node 4; there are 0 to 3"
        );
        assert!(refusal(&spec(vec![vec![0], vec![1, 2]])).contains("one number of replicas"));
        assert!(refusal(&spec(vec![vec![1, 1]])).contains("each once"));
        assert!(refusal(&spec(vec![vec![]])).contains("at least one"));
        assert!(refusal(&FileSpec::new("a", 1024, vec![])).contains("absolute"));
        assert!(refusal(&FileSpec::new("/a", 1000, vec![])).contains("multiple of 512"));
        let long = spec(vec![vec![0]]).with_content(vec![0; 1025]);
        assert!(refusal(&long).contains("1025 bytes do not end in the last of 1 blocks"));
        assert!(spec(vec![]).request().is_ok());
    }

    #[test]
    fn fsck_tells_files_with_spaces_lost_blocks_and_groups() {
        let text = "\
FSCK started by root (auth:SIMPLE) from /198.18.255.1 for path / at Wed Nov 25 02:00:00 UTC 2026

/ <dir>
/a b 2048 bytes, replicated: replication=2, 2 block(s):  OK
0. BP-1-198.18.0.5-1:blk_1_1 len=1024 Live_repl=2  [DatanodeInfoWithStorage[198.18.0.12:9866,DS-a,DISK], DatanodeInfoWithStorage[198.18.0.11:9866,DS-b,DISK]]
1. BP-1-198.18.0.5-1:blk_2_1 len=1024 MISSING!

/c 5000 bytes, erasure-coded: policy=XOR-2-1-1024k, 1 block(s):  OK
0. BP-1-198.18.0.5-1:blk_-9_1 len=5000 Live_repl=3  [blk_-9:DatanodeInfoWithStorage[198.18.0.14:9866,DS-c,DISK]]
";
        let found: Vec<_> = parse_fsck(text)
            .into_iter()
            .map(|block| (block.file, block.block, block.bytes, block.nodes.join(",")))
            .collect();
        assert_eq!(
            found,
            [
                ("/a b".to_owned(), 0, 1024, "node-1,node-2".to_owned()),
                ("/a b".to_owned(), 1, 1024, String::new()),
                ("/c".to_owned(), 0, 5000, "node-4".to_owned()),
            ]
        );
    }
}
