//! HDFS, started on demand: a NameNode, or a pair of them, beside the control plane, and a DataNode
//! on each node, at the node's address and under its name.
//!
//! Files are written with each block on chosen nodes. Where blocks are is told by Hadoop's own
//! `fsck`, a path of its own beside WebHDFS.

mod client;
mod control;
mod daemons;
mod files;
mod hadoop;
mod java;
mod jmx;
mod service;
mod site;
mod status;

use std::ffi::OsString;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::client::Client;
pub(crate) use self::daemons::{DATA_NODE, names};
pub use self::files::{FileSpec, FsckBlock};
use self::java::Machine;
pub use self::jmx::Life;
pub use self::status::{DataNodeStatus, HdfsStatus, NameNodeStatus};
use crate::error::{Error, FileContext, Result};
use crate::layout::{Layout, write_file};
use crate::node::{self, NodeSpec};
use crate::progress::Progress;
use crate::{dns, lab, network, packages};

const RPC_PORT: u16 = 8020;
const HTTP_PORT: u16 = 9870;
const DATA_PORT: u16 = 9866;
const DATA_HTTP_PORT: u16 = 9864;
const DATA_IPC_PORT: u16 = 9867;

/// How many NameNodes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// One.
    Single,
    /// Two, one of them active, which share their edits.
    Pair,
}

impl Shape {
    fn name_nodes(self) -> &'static [NameNode] {
        match self {
            Self::Single => &[NameNode::First],
            Self::Pair => &[NameNode::First, NameNode::Second],
        }
    }
}

/// One of the NameNodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameNode {
    /// `namenode`, the only one or the first of a pair.
    First,
    /// `namenode-2`, of a pair.
    Second,
}

impl NameNode {
    /// Its name: of its Service in the namespace `hdfs`, and of its component.
    pub fn name(self) -> &'static str {
        match self {
            Self::First => "namenode",
            Self::Second => "namenode-2",
        }
    }

    /// Its address, from the host, from nodes and from pods.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::First => network::NAME_NODES[0],
            Self::Second => network::NAME_NODES[1],
        }
    }

    /// Where it answers WebHDFS and JMX: `http://198.18.0.5:9870`.
    pub fn url(self) -> String {
        format!("http://{}:{HTTP_PORT}", self.address())
    }

    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What HDFS was brought up with; later runs read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    jars: PathBuf,
    /// The archive of the jars' classes.
    archive: PathBuf,
    pub(crate) shape: Shape,
}

impl Settings {
    /// Java's options for one of the processes.
    fn java(&self, layout: &Layout, heap_mib: u32, log: &'static str) -> Vec<String> {
        let machine = Machine {
            heap_mib,
            jars: self.jars.clone(),
            settings: site::directory(layout),
            hosts: site::hosts_file(layout),
            temporary: site::temporary(layout),
            log,
        };
        let mut options = vec![format!("-XX:SharedArchiveFile={}", self.archive.display())];
        options.extend(machine.options());
        options
    }
}

/// What HDFS was brought up with, if it was.
pub(crate) fn settings(layout: &Layout) -> Option<Settings> {
    serde_json::from_slice(&fs::read(layout.hdfs()).ok()?).ok()
}

/// Brings HDFS up, or what of it is missing. Another shape than before is a new, empty file system.
pub(crate) fn up(
    layout: &Layout,
    lab: &lab::Settings,
    shape: Shape,
    progress: &Progress,
) -> Result<Hdfs> {
    progress.step("Debian packages", packages::ensure_java)?;
    let jars = progress.step(hadoop::TITLE, |step| hadoop::ensure(layout, step))?;
    let archive = progress.step(hadoop::ARCHIVE_TITLE, |step| {
        hadoop::ensure_archive(layout, &jars, step)
    })?;
    // Another file system, or what is left of half a one.
    if settings(layout).is_none_or(|there| there.shape != shape) {
        discard(layout)?;
    }
    // A lab that an earlier version brought up has not the addresses and names yet.
    network::ensure(layout)?;
    dns::ensure(layout, lab)?;
    let settings = Settings {
        jars,
        archive,
        shape,
    };
    write_file(&layout.hdfs(), json!(settings).to_string())?;
    let hdfs = Hdfs::new(layout.clone(), settings);
    progress.step("HDFS", |step| {
        site::write(layout, shape)?;
        step.note("starting");
        daemons::ensure_all(layout, &hdfs.settings)?;
        step.note("NameNodes start");
        daemons::await_name_nodes(layout, shape)?;
        hdfs.ensure_active()?;
        step.note("DataNodes report");
        for node in node::all() {
            daemons::await_data_node(layout, shape, &node)?;
            hdfs.await_life(&node.name, Life::Live)?;
        }
        hdfs.await_safe_mode(false)?;
        step.note(
            shape
                .name_nodes()
                .iter()
                .map(|it| it.url())
                .collect::<Vec<_>>()
                .join(" "),
        );
        service::apply(layout, shape)
    })?;
    Ok(hdfs)
}

/// Removes HDFS with all its data. The jars stay in the cache.
pub(crate) fn down(layout: &Layout, progress: &Progress) -> Result<()> {
    progress.step("HDFS", |_| {
        discard(layout)?;
        service::remove(layout)
    })
}

fn discard(layout: &Layout) -> Result<()> {
    daemons::stop_all(layout)?;
    daemons::remove_data(layout)?;
    match fs::remove_file(layout.hdfs()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).at("remove", &layout.hdfs())
        }
        _ => Ok(()),
    }
}

/// Lets one of the processes run and waits until it does its work: `namenode`, `node-1/datanode`.
pub(crate) fn start(layout: &Layout, name: &str) -> Result<()> {
    let hdfs = Hdfs::open(layout)?;
    let (shape, settings) = (hdfs.settings.shape, &hdfs.settings);
    if let Some(node) = node::all().find(|node| node.daemon(DATA_NODE) == name) {
        return hdfs.restart(&node.name);
    }
    if let Some(&which) = shape.name_nodes().iter().find(|it| it.name() == name) {
        daemons::ensure_name_node(layout, settings, which)?;
        daemons::await_name_node(layout, which)?;
        return hdfs.ensure_active();
    }
    Ok(())
}

/// Lets a node's DataNode run, if HDFS is up; does not wait for it.
pub(crate) fn ensure_data_node(layout: &Layout, node: &NodeSpec) -> Result<()> {
    settings(layout).map_or(Ok(()), |settings| {
        daemons::ensure_data_node(layout, &settings, node)
    })
}

/// The lab's HDFS. Requests of one value are served one after another, by one process that starts
/// with the first of them.
#[derive(Debug)]
pub struct Hdfs {
    layout: Layout,
    settings: Settings,
    client: Mutex<Option<Client>>,
}

impl Hdfs {
    fn new(layout: Layout, settings: Settings) -> Self {
        Self {
            layout,
            settings,
            client: Mutex::new(None),
        }
    }

    /// The HDFS that is up.
    pub(crate) fn open(layout: &Layout) -> Result<Self> {
        let settings = settings(layout).ok_or(Error::HdfsNotUp)?;
        Ok(Self::new(layout.clone(), settings))
    }

    /// How many NameNodes there are.
    pub fn shape(&self) -> Shape {
        self.settings.shape
    }

    /// Where the NameNode, or the first of the pair, answers WebHDFS and JMX, from the host, from
    /// nodes and from pods: `http://198.18.0.5:9870`.
    pub fn name_node_url(&self) -> String {
        NameNode::First.url()
    }

    /// The same of every NameNode.
    pub fn name_node_urls(&self) -> Vec<String> {
        let name_nodes = self.name_nodes().iter();
        name_nodes.map(|name_node| name_node.url()).collect()
    }

    /// The NameNodes.
    pub fn name_nodes(&self) -> &'static [NameNode] {
        self.settings.shape.name_nodes()
    }

    /// Its part of the environment of programs that use the lab.
    pub fn environment(&self) -> [(&'static str, OsString); 1] {
        [(
            "OUTRIGGER_LAB_HDFS_URL",
            self.name_node_urls().join(",").into(),
        )]
    }

    fn with_client<T>(&self, work: impl FnOnce(&mut Client) -> Result<T>) -> Result<T> {
        let mut client = self.client.lock();
        if !client.as_mut().is_some_and(Client::is_alive) {
            *client = None;
        }
        let client = match &mut *client {
            Some(client) => client,
            none => none.insert(Client::start(&self.layout, &self.settings)?),
        };
        work(client)
    }

    fn ask(&self, action: &str, request: &Value) -> Result<String> {
        self.with_client(|client| client.ask(action, request))
    }

    fn ask_of_path(&self, request: &str, path: &str) -> Result<()> {
        let action = format!("{request} {path:?}");
        self.ask(&action, &json!({ "request": request, "path": path }))?;
        Ok(())
    }

    fn admin(&self, arguments: &[&str]) -> Result<()> {
        self.with_client(|client| client.tool("dfsadmin", arguments, false))?;
        Ok(())
    }
}
