//! Files, and how Hadoop 3.5 tells of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::name_node::{Ask, NameNode, Reply};

pub(crate) const MIB: u64 = 1 << 20;

/// What a NameNode knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Namespace {
    /// By absolute path. Directories are what leads to them, and `directories`.
    pub(crate) files: BTreeMap<String, File>,
    pub(crate) directories: Vec<String>,
    pub(crate) data_nodes: Vec<DataNode>,
    pub(crate) safe_mode: String,
    /// Whether `/jmx` tells of DataNodes.
    pub(crate) jmx: bool,
    /// Entries of a page.
    pub(crate) page: usize,
    pub(crate) state: String,
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    /// Length and holders of each block.
    pub(crate) blocks: Vec<(u64, Vec<usize>)>,
    pub(crate) replication: usize,
    pub(crate) modified: u64,
    pub(crate) open: bool,
    pub(crate) corrupt: bool,
    pub(crate) erasure_coded: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct DataNode {
    pub(crate) host: String,
    pub(crate) ip: String,
    pub(crate) port: u16,
    pub(crate) live: bool,
    pub(crate) last_contact: u64,
    pub(crate) admin_state: &'static str,
}

/// A namespace that a test may change while it is served.
pub(crate) type Shared = Arc<Mutex<Namespace>>;

impl Namespace {
    /// With DataNodes `node-1` to `node-N`.
    pub(crate) fn with(data_nodes: usize) -> Namespace {
        let data_node = |number| DataNode {
            host: format!("node-{number}"),
            ip: format!("10.0.{}.{}", number / 250, number % 250),
            port: 9866,
            live: true,
            last_contact: 1,
            admin_state: "In Service",
        };
        Namespace {
            data_nodes: (1..=data_nodes).map(data_node).collect(),
            jmx: true,
            page: 1000,
            state: "active".to_owned(),
            ..Namespace::default()
        }
    }

    /// Adds a closed file: length and holders of each block, as numbers of DataNodes from 1.
    pub(crate) fn file(mut self, path: &str, blocks: &[(u64, &[usize])]) -> Namespace {
        self.put(path, blocks);
        self
    }

    pub(crate) fn put(&mut self, path: &str, blocks: &[(u64, &[usize])]) -> &mut File {
        let blocks = blocks.iter().map(|(length, at)| (*length, at.to_vec()));
        let blocks: Vec<_> = blocks.collect();
        let file = File {
            replication: blocks.iter().map(|(_, at)| at.len()).max().unwrap_or(1),
            blocks,
            modified: 1_795_314_496_633,
            open: false,
            corrupt: false,
            erasure_coded: false,
        };
        self.files.insert(path.to_owned(), file);
        self.files.get_mut(path).unwrap()
    }

    /// Serves it.
    pub(crate) async fn serve(self) -> (NameNode, Shared) {
        self.serve_with(|_| None).await
    }

    /// Serves it, but for what the test answers itself.
    pub(crate) async fn serve_with(
        self,
        first: impl Fn(&Ask) -> Option<Reply> + Send + Sync + 'static,
    ) -> (NameNode, Shared) {
        let shared = Arc::new(Mutex::new(self));
        let served = shared.clone();
        let turns = AtomicUsize::new(0);
        let answer = move |ask: &Ask| match first(ask) {
            Some(reply) => reply,
            None => served.lock().answer(ask, turns.fetch_add(1, Relaxed)),
        };
        (NameNode::start(answer).await, shared)
    }

    /// The answer to a request. `turn` turns the order of holders.
    fn answer(&self, ask: &Ask, turn: usize) -> Reply {
        if ask.operation == "JMX" {
            return Reply::Json(200, self.told_by_jmx().to_string());
        }
        if self.state != "active" {
            return Reply::Json(403, include_str!("../answers/standby.json").to_owned());
        }
        let path = match ask.path.trim_end_matches('/') {
            "" => "/",
            path => path,
        };
        let file = self.files.get(path);
        if file.is_none() && !self.is_directory(path) {
            let missing = format!("File does not exist: {path}");
            return Reply::exception(404, "FileNotFoundException", &missing);
        }
        match ask.operation.as_str() {
            "GETCONTENTSUMMARY" => {
                let files = self.below(path).count() + usize::from(file.is_some());
                Reply::Json(200, json!({"ContentSummary": {
                    "directoryCount": 1, "ecPolicy": "", "fileCount": files, "length": 0, "quota": -1,
                    "spaceConsumed": 0, "spaceQuota": -1, "typeQuota": {},
                }}).to_string())
            }
            "LISTSTATUS_BATCH" => {
                let after = ask.query.get("startafter").map(String::as_str);
                let entries = self.entries(path, after.unwrap_or_default());
                let (page, rest) = entries.split_at(entries.len().min(self.page));
                Reply::Json(
                    200,
                    json!({"DirectoryListing": {
                        "partialListing": {"FileStatuses": {"FileStatus": page}},
                        "remainingEntries": rest.len(),
                    }})
                    .to_string(),
                )
            }
            "LISTSTATUS" => {
                let entries = self.entries(path, "");
                Reply::Json(
                    200,
                    json!({"FileStatuses": {"FileStatus": entries}}).to_string(),
                )
            }
            operation => match (operation, file) {
                (_, None) => {
                    let directory = format!("Path is not a file: {path}");
                    Reply::exception(404, "FileNotFoundException", &directory)
                }
                ("GETFILEBLOCKLOCATIONS", Some(file)) => {
                    let blocks = self.block_locations(file, ask, turn);
                    Reply::Json(
                        200,
                        json!({"BlockLocations": {"BlockLocation": blocks}}).to_string(),
                    )
                }
                ("GET_BLOCK_LOCATIONS", Some(file)) => {
                    let blocks = self.located_blocks(file, ask, turn);
                    Reply::Json(
                        200,
                        json!({"LocatedBlocks": {
                            "fileLength": file.length(), "isLastBlockComplete": !file.open,
                            "isUnderConstruction": file.open, "lastLocatedBlock": blocks.last(),
                            "locatedBlocks": blocks,
                        }})
                        .to_string(),
                    )
                }
                _ => Reply::exception(
                    400,
                    "IllegalArgumentException",
                    "Invalid value for webhdfs parameter \"op\": java.lang.IllegalArgumentException: \
                     NOSUCH is not a valid GET operation.",
                ),
            },
        }
    }

    fn is_directory(&self, path: &str) -> bool {
        path == "/"
            || self.directories.iter().any(|one| one == path)
            || self.below(path).next().is_some()
    }

    fn below<'a>(&'a self, path: &str) -> impl Iterator<Item = (&'a String, &'a File)> + use<'a> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let from = self.files.range(prefix.clone()..);
        from.take_while(move |(path, _)| path.starts_with(&prefix))
    }

    fn entries(&self, path: &str, after: &str) -> Vec<Value> {
        if let Some(file) = self.files.get(path) {
            return vec![file.status("")];
        }
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let mut entries = BTreeMap::new();
        for (path, file) in self.below(path) {
            let rest = &path[prefix.len()..];
            match rest.split_once('/') {
                Some((directory, _)) => entries.insert(directory, directory_status(directory)),
                None => entries.insert(rest, file.status(rest)),
            };
        }
        for directory in &self.directories {
            if let Some(name) = directory
                .strip_prefix(&prefix)
                .filter(|name| !name.contains('/'))
            {
                entries.insert(name, directory_status(name));
            }
        }
        let after = entries.into_iter().filter(|(name, _)| *name > after);
        after.map(|(_, status)| status).collect()
    }

    fn blocks<'a>(
        &'a self,
        file: &'a File,
        ask: &Ask,
        turn: usize,
    ) -> impl Iterator<Item = (u64, u64, Vec<&'a DataNode>)> {
        let number = |name: &str| ask.query.get(name).map(|text| text.parse::<u64>().unwrap());
        let from = number("offset").unwrap_or(0);
        let to = number("length").map_or(u64::MAX, |length| from.saturating_add(length.max(1)));
        let mut next = 0;
        let blocks = file.blocks.iter().map(move |(length, at)| {
            let offset = next;
            next += length;
            let mut holders: Vec<_> = at
                .iter()
                .map(|number| &self.data_nodes[number - 1])
                .collect();
            if !holders.is_empty() {
                let turns = turn % holders.len();
                holders.rotate_left(turns);
            }
            (offset, *length, holders)
        });
        // Blocks are told whole, if any of their bytes was asked for.
        blocks.filter(move |(offset, length, _)| *offset < to && offset + length > from)
    }

    fn block_locations(&self, file: &File, ask: &Ask, turn: usize) -> Vec<Value> {
        let told = |(offset, length, holders): (u64, u64, Vec<&DataNode>)| {
            let hosts: Vec<_> = holders.iter().map(|node| &node.host).collect();
            let names: Vec<_> = holders.iter().map(|node| node.address()).collect();
            let racks: Vec<_> = names
                .iter()
                .map(|name| format!("/default-rack/{name}"))
                .collect();
            json!({
                "topologyPaths": racks, "corrupt": file.corrupt, "cachedHosts": [], "names": names,
                "offset": offset, "hosts": hosts, "length": length, "storageTypes": [],
            })
        };
        self.blocks(file, ask, turn).map(told).collect()
    }

    fn located_blocks(&self, file: &File, ask: &Ask, turn: usize) -> Vec<Value> {
        let copy = |node: &&DataNode| {
            json!({
                "adminState": if node.admin_state == "In Service" { "NORMAL" } else { "DECOMMISSIONED" },
                "hostName": node.host, "ipAddr": node.ip, "name": node.address(),
                "networkLocation": "/default-rack", "xferPort": node.port,
            })
        };
        let told = |(offset, length, holders): (u64, u64, Vec<&DataNode>)| {
            json!({
                "block": {"blockId": 1073741841, "blockPoolId": "BP-1", "generationStamp": 1017, "numBytes": length},
                "cachedLocations": [], "isCorrupt": file.corrupt,
                "locations": holders.iter().map(copy).collect::<Vec<_>>(), "startOffset": offset,
            })
        };
        self.blocks(file, ask, turn).map(told).collect()
    }

    fn told_by_jmx(&self) -> Value {
        if !self.jmx {
            return json!({"beans": []});
        }
        let nodes = |live: bool| -> String {
            let nodes = self.data_nodes.iter().filter(|node| node.live == live);
            let told = nodes.map(|node| {
                (
                    format!("{}:{}", node.host, node.port),
                    json!({
                        "xferaddr": node.address(), "location": "/default-rack",
                        "lastContact": node.last_contact, "adminState": node.admin_state,
                    }),
                )
            });
            Value::Object(told.collect()).to_string()
        };
        json!({"beans": [
            {"name": "Hadoop:service=NameNode,name=NameNodeActivity"},
            {"name": "Hadoop:service=NameNode,name=NameNodeStatus", "State": self.state},
            {
                "name": "Hadoop:service=NameNode,name=NameNodeInfo", "Safemode": self.safe_mode,
                "LiveNodes": nodes(true), "DeadNodes": nodes(false),
            },
        ]})
    }
}

impl DataNode {
    fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }
}

impl File {
    /// As a listing tells it, with what is known of the last block.
    fn length(&self) -> u64 {
        self.blocks.iter().map(|(length, _)| length).sum()
    }

    fn status(&self, name: &str) -> Value {
        // Closing a file sets the time of its modification.
        let created = self.modified - if self.open { 0 } else { 500 };
        let mut status = json!({
            "accessTime": created, "blockSize": MIB, "childrenNum": 0, "fileId": 16396,
            "group": "supergroup", "length": self.length(), "modificationTime": self.modified,
            "owner": "root", "pathSuffix": name, "permission": "644", "replication": self.replication,
            "storagePolicy": 0, "type": "FILE",
        });
        if self.erasure_coded {
            status["ecBit"] = json!(true);
            status["ecPolicy"] = json!("XOR-2-1-1024k");
        }
        status
    }
}

fn directory_status(name: &str) -> Value {
    json!({
        "accessTime": 0, "blockSize": 0, "childrenNum": 1, "fileId": 16394, "group": "supergroup",
        "length": 0, "modificationTime": 1795314499037_u64, "owner": "root", "pathSuffix": name,
        "permission": "755", "replication": 0, "storagePolicy": 0, "type": "DIRECTORY",
    })
}
