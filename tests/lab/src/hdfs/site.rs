//! The settings of HDFS, one file for all its processes, and the names that they know.

use std::fmt::Write;
use std::path::PathBuf;

use super::{HTTP_PORT, NameNode, RPC_PORT, Shape};
use crate::error::{FileContext, Result};
use crate::layout::{Layout, write_file};
use crate::node;

/// What a pair of NameNodes is called as one.
const NAME_SERVICE: &str = "lab";

/// The directory of everything that is not on a node's disk.
pub(super) fn home(layout: &Layout) -> PathBuf {
    layout.data("hdfs")
}

pub(super) fn temporary(layout: &Layout) -> PathBuf {
    home(layout).join("tmp")
}

/// The directory of a NameNode's names.
pub(super) fn names(layout: &Layout, name_node: NameNode) -> PathBuf {
    home(layout).join(name_node.name())
}

/// The directory of a pair's edits.
pub(super) fn edits(layout: &Layout) -> PathBuf {
    home(layout).join("edits")
}

/// The directory of what the processes read. It is on their class paths: a NameNode that is told to
/// read its settings again looks nowhere else.
pub(super) fn directory(layout: &Layout) -> PathBuf {
    layout.config("hdfs")
}

/// The DataNodes to be decommissioned, an address a line.
pub(super) fn exclude_file(layout: &Layout) -> PathBuf {
    directory(layout).join("exclude")
}

/// The names that the processes know, instead of any DNS.
pub(super) fn hosts_file(layout: &Layout) -> PathBuf {
    directory(layout).join("hosts")
}

pub(super) fn file(layout: &Layout) -> PathBuf {
    directory(layout).join("hdfs-site.xml")
}

/// Writes what the processes read.
pub(super) fn write(layout: &Layout, shape: Shape) -> Result<()> {
    let temporary = temporary(layout);
    std::fs::create_dir_all(&temporary).at("create", &temporary)?;
    write_file(&hosts_file(layout), hosts(shape))?;
    if !exclude_file(layout).exists() {
        write_file(&exclude_file(layout), "")?;
    }
    write_file(&file(layout), text(layout, shape))
}

/// The names that a machine has for itself. Hadoop looks them up.
pub(super) fn own_names() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("127.0.0.1 localhost {}\n", machine.trim())
}

fn hosts(shape: Shape) -> String {
    let mut text = own_names();
    for name_node in shape.name_nodes() {
        let _ = writeln!(text, "{} {}", name_node.address(), name_node.name());
    }
    for node in node::all() {
        let _ = writeln!(text, "{} {}", node.address(), node.name);
    }
    text
}

fn text(layout: &Layout, shape: Shape) -> String {
    let mut settings: Vec<(String, String)> = SETTINGS
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
    set("hadoop.tmp.dir", temporary(layout).display().to_string());
    set(
        "dfs.hosts.exclude",
        exclude_file(layout).display().to_string(),
    );
    let suffix = |name_node: NameNode| match shape {
        Shape::Single => String::new(),
        Shape::Pair => format!(".{NAME_SERVICE}.{}", name_node.name()),
    };
    for &name_node in shape.name_nodes() {
        let (address, suffix) = (name_node.address(), suffix(name_node));
        set(
            &format!("dfs.namenode.rpc-address{suffix}"),
            format!("{address}:{RPC_PORT}"),
        );
        set(
            &format!("dfs.namenode.http-address{suffix}"),
            format!("{address}:{HTTP_PORT}"),
        );
        set(
            &format!("dfs.namenode.name.dir{suffix}"),
            format!("file://{}", names(layout, name_node).display()),
        );
    }
    match shape {
        Shape::Single => set(
            "fs.defaultFS",
            format!("hdfs://{}:{RPC_PORT}", NameNode::First.address()),
        ),
        Shape::Pair => {
            let both = shape.name_nodes().iter().map(|name_node| name_node.name());
            set("fs.defaultFS", format!("hdfs://{NAME_SERVICE}"));
            set("dfs.nameservices", NAME_SERVICE.to_owned());
            set(
                &format!("dfs.ha.namenodes.{NAME_SERVICE}"),
                both.collect::<Vec<_>>().join(","),
            );
            set(
                "dfs.namenode.shared.edits.dir",
                format!("file://{}", edits(layout).display()),
            );
            set(
                &format!("dfs.client.failover.proxy.provider.{NAME_SERVICE}"),
                "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
                    .to_owned(),
            );
        }
    }
    let mut text = "<configuration>\n".to_owned();
    for (name, value) in settings {
        let value = value.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(
            text,
            "  <property><name>{name}</name><value>{value}</value></property>"
        );
    }
    text + "</configuration>\n"
}

/// What does not depend on where things are.
const SETTINGS: [(&str, &str); 21] = [
    ("dfs.blocksize", "1048576"),
    ("dfs.namenode.fs-limits.min-block-size", "1024"),
    ("dfs.permissions.enabled", "false"),
    // The DataNodes' names are not in any DNS that the NameNode asks.
    (
        "dfs.namenode.datanode.registration.ip-hostname-check",
        "false",
    ),
    ("dfs.namenode.safemode.extension", "0"),
    // Blocks go where they are sent, whatever else is written there at the moment.
    ("dfs.namenode.redundancy.considerLoad", "false"),
    ("dfs.namenode.redundancy.interval.seconds", "1s"),
    // A DataNode is dead after 2 × 0.5 s + 10 × 1 s = 11 s.
    ("dfs.heartbeat.interval", "1"),
    ("dfs.namenode.heartbeat.recheck-interval", "500"),
    ("dfs.namenode.stale.datanode.interval", "3000"),
    ("dfs.namenode.decommission.interval", "1s"),
    ("dfs.client.use.datanode.hostname", "false"),
    // A write whose DataNode fails goes on with the others, and takes no one's place.
    (
        "dfs.client.block.write.replace-datanode-on-failure.policy",
        "NEVER",
    ),
    // Whoever asks a dead NameNode is told within a minute.
    ("ipc.client.rpc-timeout.ms", "30000"),
    ("dfs.client.failover.max.attempts", "8"),
    ("dfs.client.failover.sleep.max.millis", "2000"),
    // For a pair.
    ("dfs.ha.automatic-failover.enabled", "false"),
    ("dfs.ha.fencing.methods", "shell(/bin/true)"),
    ("dfs.ha.tail-edits.period", "1"),
    ("dfs.ha.nn.not-become-active-in-safemode", "false"),
    // Threads that a small file system does not need.
    ("dfs.namenode.handler.count", "4"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_pair_has_addresses_of_each_and_one_directory_of_edits() {
        let layout = Layout::below(Path::new("/state"));
        let (single, pair) = (text(&layout, Shape::Single), text(&layout, Shape::Pair));
        assert!(single.contains("<name>dfs.namenode.rpc-address</name><value>198.18.0.5:8020<"));
        assert!(!single.contains("shared.edits"));
        for address in [
            "rpc-address.lab.namenode</name><value>198.18.0.5:8020<",
            "rpc-address.lab.namenode-2</name><value>198.18.0.6:8020<",
            "shared.edits.dir</name><value>file:///state/data/hdfs/edits<",
        ] {
            assert!(pair.contains(address), "{address} in {pair}");
        }
    }
}
