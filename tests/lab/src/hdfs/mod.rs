//! HDFS, started on demand: a NameNode, or a pair of them, beside the control plane, and a DataNode
//! on each node, at the node's address and under its name.
//!
//! Files are written with each block on chosen nodes. Where blocks are is told by Hadoop's own
//! `fsck`, a path of its own beside WebHDFS.

mod client;
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
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use parking_lot::Mutex;
use rustix::process::Signal;
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
use crate::{daemon, dns, lab, network, packages, wait};

const RPC_PORT: u16 = 8020;
const HTTP_PORT: u16 = 9870;
const DATA_PORT: u16 = 9866;
const DATA_HTTP_PORT: u16 = 9864;
const DATA_IPC_PORT: u16 = 9867;
/// How long a DataNode may take to be live, dead, or decommissioned.
const PATIENCE: Duration = Duration::from_secs(90);

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

    // === Files ===

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
        Ok(files::parse_fsck(&text))
    }

    /// What the command of [`fsck`](Self::fsck) prints.
    ///
    /// # Errors
    /// If it cannot be run.
    pub fn fsck_text(&self, path: &str) -> Result<String> {
        let arguments = [path, "-files", "-blocks", "-locations", "-openforwrite"];
        self.with_client(|client| client.tool("fsck", &arguments, true))
    }

    // === DataNodes ===

    /// Kills a node's DataNode at once, as a crash would. The NameNode takes it for dead 11 s later;
    /// see [`await_dead`](Self::await_dead).
    ///
    /// # Errors
    /// If there is no such node, or the process cannot be ended.
    pub fn kill(&self, node: &str) -> Result<()> {
        let name = find(node)?.daemon(DATA_NODE);
        daemon::stop(&self.layout, &name, Signal::KILL, Duration::from_secs(10))
    }

    /// Lets a node's DataNode run, and waits until it is live and has reported its blocks.
    ///
    /// # Errors
    /// If there is no such node, it is turned off, or the DataNode does not become live.
    pub fn restart(&self, node: &str) -> Result<()> {
        let spec = find(node)?;
        daemons::ensure_data_node(&self.layout, &self.settings, &spec)?;
        daemons::await_data_node(&self.layout, self.settings.shape, &spec)?;
        self.await_life(node, Life::Live)
    }

    /// Waits until the NameNode takes a node's DataNode for live.
    ///
    /// # Errors
    /// If there is no such node, or it does not become so in 90 s.
    pub fn await_live(&self, node: &str) -> Result<()> {
        self.await_life(&find(node)?.name, Life::Live)
    }

    /// Waits until the NameNode takes a node's DataNode for dead. Its blocks leave the answers some
    /// seconds later.
    ///
    /// # Errors
    /// If there is no such node, or it does not become so in 90 s.
    pub fn await_dead(&self, node: &str) -> Result<()> {
        self.await_life(&find(node)?.name, Life::Dead)
    }

    /// Decommissions a node's DataNode, and waits until its blocks are elsewhere too. It needs as
    /// many other live DataNodes as a block has replicas.
    ///
    /// # Errors
    /// If there is no such node, or blocks cannot be moved in 90 s.
    pub fn decommission(&self, node: &str) -> Result<()> {
        self.exclude(&find(node)?, true)?;
        self.await_admin_state(node, "Decommissioned")
    }

    /// Takes a node's DataNode back into service.
    ///
    /// # Errors
    /// If there is no such node, or the NameNode does not say so in 90 s.
    pub fn recommission(&self, node: &str) -> Result<()> {
        self.exclude(&find(node)?, false)?;
        self.await_admin_state(node, "In Service")
    }

    fn exclude(&self, node: &NodeSpec, excluded: bool) -> Result<()> {
        let file = site::exclude_file(&self.layout);
        let address = node.address().to_string();
        let text = fs::read_to_string(&file).at("read", &file)?;
        let mut lines: Vec<_> = text.lines().filter(|line| *line != address).collect();
        if excluded {
            lines.push(&address);
        }
        write_file(&file, lines.join("\n") + "\n")?;
        self.admin(&["-refreshNodes"])
    }

    // === NameNodes ===

    /// Lets the NameNodes enter or leave safe mode, and waits until they have.
    ///
    /// # Errors
    /// If HDFS refuses it.
    pub fn set_safe_mode(&self, on: bool) -> Result<()> {
        self.admin(&["-safemode", if on { "enter" } else { "leave" }])?;
        self.await_safe_mode(on)
    }

    /// The NameNode that is active, if one is.
    pub fn active(&self) -> Option<NameNode> {
        let is_active =
            |it: &NameNode| jmx::name_node_state(*it).is_ok_and(|state| state == "active");
        self.name_nodes().iter().copied().find(is_active)
    }

    /// Makes the other one of a pair the active one, and returns it.
    ///
    /// # Errors
    /// If there is no pair, or the other one cannot become active.
    pub fn fail_over(&self) -> Result<NameNode> {
        self.require_pair("fail over")?;
        let silent = |it: &NameNode| jmx::name_node_state(*it).is_err();
        let silent = self.name_nodes().iter().copied().find(silent);
        let from = self.active().or(silent).unwrap_or(NameNode::Second);
        let to = from.other();
        self.with_client(|client| {
            client.tool("haadmin", &["-failover", from.name(), to.name()], false)
        })?;
        wait::until("the failover", PATIENCE, || {
            let active = self.active();
            Ok((active == Some(to))
                .then_some(())
                .ok_or_else(|| format!("{active:?} is active")))
        })?;
        Ok(to)
    }

    /// Kills a NameNode at once, as a crash would; `lab component NAME start` lets it run again.
    ///
    /// # Errors
    /// If there is none of that name, or the process cannot be ended.
    pub fn kill_name_node(&self, which: NameNode) -> Result<()> {
        daemon::stop(
            &self.layout,
            which.name(),
            Signal::KILL,
            Duration::from_secs(10),
        )
    }

    /// Lets a NameNode run, and waits until it answers. One of a pair is standby, unless none is
    /// active. It is in safe mode until it knows the blocks; see
    /// [`await_safe_mode`](Self::await_safe_mode).
    ///
    /// # Errors
    /// If it ends at once, or does not answer in its time.
    pub fn restart_name_node(&self, which: NameNode) -> Result<()> {
        if which == NameNode::Second {
            self.require_pair("start namenode-2")?;
        }
        start(&self.layout, which.name())
    }

    fn require_pair(&self, action: &str) -> Result<()> {
        if self.settings.shape == Shape::Pair {
            return Ok(());
        }
        Err(Error::Hdfs {
            action: action.to_owned(),
            said: "there is one NameNode; bring a pair up with `lab hdfs up --pair`".to_owned(),
        })
    }

    fn ensure_active(&self) -> Result<()> {
        if self.settings.shape == Shape::Single || self.active().is_some() {
            return Ok(());
        }
        let first = NameNode::First.name();
        self.with_client(|client| client.tool("haadmin", &["-transitionToActive", first], false))?;
        Ok(())
    }

    // === Waiting ===

    /// What the processes are and say.
    pub fn status(&self) -> HdfsStatus {
        HdfsStatus::read(&self.layout, self)
    }

    /// What the active NameNode says.
    fn view(&self) -> Result<jmx::View, String> {
        let active = self.active().ok_or("no NameNode is active")?;
        jmx::view(active)
    }

    fn await_life(&self, node: &str, wanted: Life) -> Result<()> {
        let what = format!("{node}'s DataNode to be {wanted:?}");
        wait::until(&what, PATIENCE, || {
            let view = self.view();
            Ok(view.and_then(|view| {
                let life = view.data_nodes.get(node).map_or(Life::Unknown, |it| it.0);
                (life == wanted)
                    .then_some(())
                    .ok_or_else(|| format!("it is {life:?}"))
            }))
        })
    }

    fn await_admin_state(&self, node: &str, wanted: &str) -> Result<()> {
        let what = format!("{node}'s DataNode to be {wanted:?}");
        wait::until(&what, PATIENCE, || {
            let view = self.view();
            Ok(view.and_then(|view| {
                let state = view.data_nodes.get(node).map_or("unknown", |it| &it.1);
                (state == wanted)
                    .then_some(())
                    .ok_or_else(|| format!("it is {state:?}"))
            }))
        })
    }

    /// Waits until the active NameNode is in safe mode, or is not.
    ///
    /// # Errors
    /// If it does not become so in 90 s.
    pub fn await_safe_mode(&self, wanted: bool) -> Result<()> {
        let what = if wanted {
            "safe mode"
        } else {
            "the end of safe mode"
        };
        wait::until(what, PATIENCE, || {
            let view = self.view();
            Ok(view.and_then(|view| {
                (view.safe_mode.is_some() == wanted)
                    .then_some(())
                    .ok_or_else(|| format!("it is {:?}", view.safe_mode))
            }))
        })
    }

    // === The client ===

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

fn find(node: &str) -> Result<NodeSpec> {
    node::all()
        .find(|known| known.name == node)
        .ok_or_else(|| Error::UnknownNode {
            name: node.to_owned(),
            known: node::all().map(|it| it.name).collect::<Vec<_>>().join(", "),
        })
}
