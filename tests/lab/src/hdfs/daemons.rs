//! The processes of HDFS: NameNodes beside the control plane, a DataNode on each node.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::{
    DATA_HTTP_PORT, DATA_IPC_PORT, DATA_PORT, NameNode, Settings, Shape, client, hadoop, java, jmx,
    site,
};
use crate::cgroup::Cgroups;
use crate::command::Tool;
use crate::daemon::{self, Daemon};
use crate::error::{Error, Result};
use crate::layout::{Layout, remove_tree};
use crate::node::{self, NodeSpec};
use crate::{namespace, network, wait};

pub(crate) const DATA_NODE: &str = "datanode";
/// Where a DataNode keeps its blocks, on its node's disk.
const DATA_DIRECTORY: &str = "var/lib/hadoop-hdfs";
const HEAP_MIB: u32 = 96;
const NAME_NODE_CLASS: &str = "org.apache.hadoop.hdfs.server.namenode.NameNode";
const DATA_NODE_CLASS: &str = "org.apache.hadoop.hdfs.server.datanode.DataNode";
const PATIENCE: Duration = Duration::from_secs(120);

/// The names of all processes, in the order in which they are started.
pub(crate) fn names(shape: Shape) -> Vec<String> {
    let name_nodes = shape.name_nodes().iter().map(|name_node| name_node.name());
    name_nodes
        .map(str::to_owned)
        .chain(node::all().map(|node| node.daemon(DATA_NODE)))
        .collect()
}

/// Lets all processes run, on a new file system if there is none; does not wait for them.
pub(super) fn ensure_all(layout: &Layout, settings: &Settings) -> Result<()> {
    if !is_formatted(layout, settings.shape) {
        stop_all(layout)?;
        remove_data(layout)?;
        site::write(layout, settings.shape)?;
        format(layout, settings)?;
    }
    for &name_node in settings.shape.name_nodes() {
        ensure_name_node(layout, settings, name_node)?;
    }
    node::all().try_for_each(|node| ensure_data_node(layout, settings, &node))
}

fn is_formatted(layout: &Layout, shape: Shape) -> bool {
    let written = |name_node: &NameNode| {
        site::names(layout, *name_node)
            .join("current/VERSION")
            .exists()
    };
    shape.name_nodes().iter().all(written)
}

/// Makes an empty file system.
fn format(layout: &Layout, settings: &Settings) -> Result<()> {
    let daemon = name_node(layout, settings, NameNode::First);
    Tool::new(&daemon.program)
        .args(&daemon.args)
        .args(["-format", "-nonInteractive"])
        .inside(&daemon.namespaces)
        .run()?;
    if settings.shape == Shape::Pair {
        // The second one starts with what the first one has.
        Tool::line("cp --recursive --no-target-directory")
            .arg(site::names(layout, NameNode::First))
            .arg(site::names(layout, NameNode::Second))
            .run()?;
    }
    Ok(())
}

pub(super) fn ensure_name_node(
    layout: &Layout,
    settings: &Settings,
    which: NameNode,
) -> Result<()> {
    name_node(layout, settings, which).ensure(layout)?;
    Ok(())
}

fn name_node(layout: &Layout, settings: &Settings, name_node: NameNode) -> Daemon {
    let mut args = arguments(layout, settings, NAME_NODE_CLASS);
    if settings.shape == Shape::Pair {
        args.extend(option("dfs.ha.namenode.id", name_node.name()));
    }
    Daemon {
        name: name_node.name().to_owned(),
        namespaces: network::control_plane(layout),
        ..process(layout, args)
    }
}

/// Lets a node's DataNode run.
pub(super) fn ensure_data_node(
    layout: &Layout,
    settings: &Settings,
    node: &NodeSpec,
) -> Result<()> {
    let namespaces = namespace::Namespaces {
        // Its blocks are on the node's disk, but its jars are not.
        mount: None,
        ..node.namespaces(layout)
    };
    let on = namespaces.uts.as_ref().map(|uts| namespace::exists(uts));
    if !on.transpose()?.unwrap_or_default() {
        return Err(Error::Hdfs {
            action: format!("start {}", node.daemon(DATA_NODE)),
            said: format!("{} is turned off; turn it on first", node.name),
        });
    }
    let mut args = arguments(layout, settings, DATA_NODE_CLASS);
    let address = node.address();
    for (name, port) in [
        ("dfs.datanode.address", DATA_PORT),
        ("dfs.datanode.http.address", DATA_HTTP_PORT),
        ("dfs.datanode.ipc.address", DATA_IPC_PORT),
    ] {
        args.extend(option(name, &format!("{address}:{port}")));
    }
    args.extend(option("dfs.datanode.hostname", &node.name));
    let data = data_directory(layout, node);
    args.extend(option(
        "dfs.datanode.data.dir",
        &format!("file://{}", data.display()),
    ));
    Daemon {
        name: node.daemon(DATA_NODE),
        namespaces,
        ..process(layout, args)
    }
    .ensure(layout)?;
    Ok(())
}

fn data_directory(layout: &Layout, node: &NodeSpec) -> PathBuf {
    layout.node_root(&node.name).join(DATA_DIRECTORY)
}

fn arguments(layout: &Layout, settings: &Settings, class: &str) -> Vec<String> {
    let mut args = settings.java(layout, HEAP_MIB, "INFO");
    args.push(class.to_owned());
    args
}

fn option(name: &str, value: &str) -> [String; 2] {
    ["-D".to_owned(), format!("{name}={value}")]
}

fn process(layout: &Layout, args: Vec<String>) -> Daemon {
    Daemon {
        name: String::new(),
        program: java::program("java"),
        args,
        namespaces: namespace::Namespaces::default(),
        inputs: vec![site::file(layout), site::hosts_file(layout)],
    }
}

/// Waits until every NameNode answers.
pub(super) fn await_name_nodes(layout: &Layout, shape: Shape) -> Result<()> {
    let mut name_nodes = shape.name_nodes().iter();
    name_nodes.try_for_each(|&name_node| await_name_node(layout, name_node))
}

pub(super) fn await_name_node(layout: &Layout, name_node: NameNode) -> Result<()> {
    wait::until(name_node.name(), PATIENCE, || {
        daemon::check_alive(layout, name_node.name())?;
        Ok(jmx::name_node_state(name_node).map(drop))
    })
}

/// Waits until a DataNode, this one and not an earlier one, has told each NameNode its blocks.
pub(super) fn await_data_node(layout: &Layout, shape: Shape, node: &NodeSpec) -> Result<()> {
    let name = node.daemon(DATA_NODE);
    let address = SocketAddr::from((node.address(), DATA_HTTP_PORT));
    wait::until(&name, PATIENCE, || {
        daemon::check_alive(layout, &name)?;
        let served = shape.name_nodes().len() as u64;
        Ok(jmx::data_node_reported(address, served))
    })
}

/// Ends all processes that there may be.
pub(super) fn stop_all(layout: &Layout) -> Result<()> {
    for name in names(Shape::Pair).into_iter().rev() {
        daemon::stop(layout, &name, Signal::KILL, Duration::from_secs(10))?;
    }
    let cgroups = Cgroups::detect()?;
    [client::GROUP, hadoop::REHEARSAL]
        .into_iter()
        .try_for_each(|group| cgroups.kill(group))
}

/// Removes the file system, and what the processes wrote beside it.
pub(super) fn remove_data(layout: &Layout) -> Result<()> {
    remove_tree(&site::home(layout))?;
    for node in node::all() {
        remove_tree(&data_directory(layout, &node))?;
    }
    remove_tree(&site::directory(layout))
}
