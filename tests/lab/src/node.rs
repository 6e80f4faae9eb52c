//! A node: a machine of its own (mount, network and host-name namespaces), containerd, kubelet and
//! kube-proxy in it.

use std::ffi::OsStr;
use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::cgroup::Cgroups;
use crate::command::Tool;
use crate::daemon::{self, Daemon};
use crate::error::{FileContext, Result};
use crate::lab::Settings;
use crate::layout::{Layout, write_file};
use crate::namespace::{self, Namespaces};
use crate::process::boot_id;
use crate::{control_plane, hdfs, node_files, wait};

/// How many nodes there are: two in each zone.
const COUNT: u8 = 4;
const CONTAINERD: &str = "containerd";
const KUBELET: &str = "kubelet";
const PROXY: &str = "kube-proxy";
/// A node's daemons, in the order in which they are started.
pub(crate) const PROGRAMS: [&str; 3] = [CONTAINERD, KUBELET, PROXY];
const SETUP: &str = include_str!("../files/node-root.sh");
/// The image of pod sandboxes.
pub(crate) const PAUSE_REFERENCE: &str = "registry.lab:5000/lab/pause:1";

/// What a node is called, and what follows from its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeSpec {
    pub(crate) name: String,
    number: u8,
}

/// The lab's nodes.
pub(crate) fn all() -> impl Iterator<Item = NodeSpec> {
    (1..=COUNT).map(|number| NodeSpec {
        name: format!("node-{number}"),
        number,
    })
}

impl NodeSpec {
    pub(crate) fn address(&self) -> Ipv4Addr {
        Ipv4Addr::new(198, 18, 0, 10 + self.number)
    }

    pub(crate) fn pod_range(&self) -> String {
        format!("198.19.{}.0/24", self.number)
    }

    pub(crate) fn zone(&self) -> &'static str {
        if self.number <= COUNT / 2 { "z1" } else { "z2" }
    }

    pub(crate) fn net_file(&self, layout: &Layout) -> PathBuf {
        layout.namespace(&format!("{}.net", self.name))
    }

    pub(crate) fn namespaces(&self, layout: &Layout) -> Namespaces {
        Namespaces {
            net: Some(self.net_file(layout)),
            mount: Some(layout.namespace(&format!("{}.mnt", self.name))),
            uts: Some(layout.namespace(&format!("{}.uts", self.name))),
        }
    }

    /// The name of one of the node's daemons, which is also its control group.
    pub(crate) fn daemon(&self, program: &str) -> String {
        format!("{}/{program}", self.name)
    }

    /// All its daemons' names.
    pub(crate) fn daemons(&self) -> [String; 3] {
        PROGRAMS.map(|program| self.daemon(program))
    }
}

/// Lets containerd, kubelet and kube-proxy run, in a machine that is made if it is missing.
pub(crate) fn ensure(layout: &Layout, settings: &Settings, node: &NodeSpec) -> Result<()> {
    PROGRAMS
        .into_iter()
        .try_for_each(|program| ensure_daemon(layout, settings, node, program))
}

/// Lets one of the node's daemons run.
pub(crate) fn ensure_daemon(
    layout: &Layout,
    settings: &Settings,
    node: &NodeSpec,
    program: &str,
) -> Result<()> {
    let cgroups = Cgroups::detect()?;
    node_files::write(layout, settings, node, cgroups.is_version_1())?;
    ensure_machine(layout, settings, node, &cgroups)?;
    cgroups.ensure(&node.daemon("shims"))?;
    daemon(layout, node, program).ensure(layout)?;
    if program == CONTAINERD {
        await_containerd(layout, node)?;
        import_pause(layout, node)?;
    }
    Ok(())
}

fn daemon(layout: &Layout, node: &NodeSpec, program: &str) -> Daemon {
    let (path, args, inputs): (_, Vec<String>, &[&str]) = match program {
        CONTAINERD => ("containerd", Vec::new(), &["etc/containerd/config.toml"]),
        KUBELET => (
            "/opt/kubernetes/bin/kubelet",
            vec![
                "--config=/etc/kubernetes/kubelet.yaml".to_owned(),
                "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig".to_owned(),
                format!("--hostname-override={}", node.name),
                format!("--node-ip={}", node.address()),
                format!("--node-labels=topology.kubernetes.io/zone={}", node.zone()),
            ],
            &[
                "etc/kubernetes/kubelet.yaml",
                "etc/kubernetes/kubelet.kubeconfig",
                "etc/kubernetes/kubelet.crt",
            ],
        ),
        _ => (
            "/opt/kubernetes/bin/kube-proxy",
            vec!["--config=/etc/kubernetes/kube-proxy.yaml".to_owned()],
            &[
                "etc/kubernetes/kube-proxy.yaml",
                "etc/kubernetes/kube-proxy.kubeconfig",
            ],
        ),
    };
    let root = layout.node_root(&node.name);
    Daemon {
        name: node.daemon(program),
        program: PathBuf::from(path),
        args,
        namespaces: node.namespaces(layout),
        inputs: inputs.iter().map(|input| root.join(input)).collect(),
    }
}

/// Waits until the node can serve pods: the API server calls it Ready, and its kube-proxy has
/// written its rules.
pub(crate) fn await_ready(layout: &Layout, node: &NodeSpec) -> Result<()> {
    PROGRAMS
        .into_iter()
        .try_for_each(|program| await_daemon(layout, node, program))
}

/// Waits until one of the node's daemons does its work.
pub(crate) fn await_daemon(layout: &Layout, node: &NodeSpec, program: &str) -> Result<()> {
    let name = node.daemon(program);
    match program {
        CONTAINERD => await_containerd(layout, node),
        KUBELET => await_kubelet(layout, node, &name),
        _ => control_plane::await_proxy(layout, &name, node.address()),
    }
}

/// Waits until this kubelet, not an earlier one, says that its node is Ready.
fn await_kubelet(layout: &Layout, node: &NodeSpec, name: &str) -> Result<()> {
    // Heartbeats are in whole seconds: one of the second of the start may be an earlier kubelet's.
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.unwrap_or_default().as_secs()
    };
    let started = seconds(daemon::started_at(layout, name)?);
    wait::until(name, Duration::from_secs(180), || {
        daemon::check_alive(layout, name)?;
        Ok(match control_plane::node_readiness(layout, &node.name) {
            Ok(said) if said.ready && seconds(said.heartbeat) > started => Ok(()),
            Ok(said) => Err(format!("the node is not Ready: {}", said.message)),
            Err(error) => Err(error.to_string()),
        })
    })
}

/// Makes the node's mount and host-name namespaces, unless they are there and whole.
fn ensure_machine(
    layout: &Layout,
    settings: &Settings,
    node: &NodeSpec,
    cgroups: &Cgroups,
) -> Result<()> {
    let namespaces = node.namespaces(layout);
    let (Some(mount), Some(uts)) = (&namespaces.mount, &namespaces.uts) else {
        return Ok(());
    };
    // Names the namespace that the setup ended well in, and what was mounted there.
    let mark = layout.namespace(&format!("{}.whole", node.name));
    let whole = || -> Result<String> {
        let inode = fs::metadata(mount).at("read", mount)?.ino();
        Ok(format!("{} {inode} {}", boot_id(), settings.kube.display()))
    };
    if namespace::exists(mount)?
        && namespace::exists(uts)?
        && fs::read_to_string(&mark).is_ok_and(|text| whole().is_ok_and(|whole| whole == text))
    {
        return Ok(());
    }
    cgroups.kill(&node.name)?;
    let make = |processor: Option<usize>| {
        for file in [mount, uts] {
            namespace::remove(file)?;
            namespace::touch(file)?;
        }
        make_machine(layout, settings, node, processor)
    };
    make(None).or_else(|error| {
        let mut processors = namespace::processors()?.into_iter();
        processors
            .any(|processor| make(Some(processor)).is_ok())
            .then_some(())
            .ok_or(error)
    })?;
    write_file(&mark, whole()?)
}

/// Makes a node's mount and host-name namespaces, on one of the processors if it is given.
fn make_machine(
    layout: &Layout,
    settings: &Settings,
    node: &NodeSpec,
    processor: Option<usize>,
) -> Result<()> {
    let Namespaces {
        net,
        mount: Some(mount),
        uts: Some(uts),
    } = node.namespaces(layout)
    else {
        return Ok(());
    };
    let root = layout.node_root(&node.name);
    let unshare = processor.map_or_else(
        || Tool::new("unshare"),
        |processor| Tool::line(&format!("taskset --cpu-list {processor} unshare")),
    );
    unshare
        .args([
            format!("--mount={}", mount.display()),
            format!("--uts={}", uts.display()),
        ])
        .args([
            "--propagation",
            "private",
            "sh",
            "-eu",
            "-c",
            SETUP,
            "node-root",
        ])
        .arg(&root)
        .arg(&settings.kube)
        .arg(&node.name)
        .inside(&Namespaces {
            net,
            ..Namespaces::default()
        })
        .run()?;
    Ok(())
}

fn ctr(layout: &Layout, node: &NodeSpec) -> Tool {
    Tool::line("ctr --namespace k8s.io").inside(&node.namespaces(layout))
}

fn await_containerd(layout: &Layout, node: &NodeSpec) -> Result<()> {
    let name = node.daemon("containerd");
    wait::until(&name, Duration::from_secs(60), || {
        daemon::check_alive(layout, &name)?;
        Ok(ctr(layout, node)
            .arg("version")
            .run()
            .map_err(|error| error.to_string()))
    })?;
    Ok(())
}

fn import_pause(layout: &Layout, node: &NodeSpec) -> Result<()> {
    let there = ctr(layout, node)
        .args([
            "images",
            "list",
            "--quiet",
            &format!("name=={PAUSE_REFERENCE}"),
        ])
        .run()?;
    if there.trim().is_empty() {
        let image = layout.pause_image();
        let archive = fs::read(&image).at("read", &image)?;
        ctr(layout, node)
            .args(["images", "import", "-"])
            .stdin(archive)
            .run()?;
    }
    Ok(())
}

/// A node of the lab, to be turned off and on.
#[derive(Debug)]
pub struct Node<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    spec: NodeSpec,
}

impl<'a> Node<'a> {
    pub(crate) fn new(layout: &'a Layout, settings: &'a Settings, spec: NodeSpec) -> Self {
        Self {
            layout,
            settings,
            spec,
        }
    }

    /// The name of the Node object.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The value of its label `topology.kubernetes.io/zone`.
    pub fn zone(&self) -> &'static str {
        self.spec.zone()
    }

    /// Its address.
    pub fn address(&self) -> Ipv4Addr {
        self.spec.address()
    }

    /// The directory that the node sees as `/`: a `hostPath` of `/mnt/data` is `mnt/data` in here.
    pub fn root(&self) -> PathBuf {
        self.layout.node_root(&self.spec.name)
    }

    /// A program, ready to be run on the node.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut words = self
            .spec
            .namespaces(self.layout)
            .enter_command()
            .into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(program);
        command
    }

    /// Cuts the power: kills every process of the node, its pods' included. Its disk stays.
    ///
    /// # Errors
    /// If processes of it cannot be ended.
    pub fn stop(&self) -> Result<()> {
        Cgroups::detect()?.kill(&self.spec.name)?;
        let namespaces = self.spec.namespaces(self.layout);
        for file in [namespaces.mount, namespaces.uts].into_iter().flatten() {
            namespace::remove(&file)?;
        }
        Ok(())
    }

    /// Turns it on again and waits until its kubelet and kube-proxy run and the Node is Ready. If
    /// HDFS is up, its DataNode is started too, and not waited for.
    ///
    /// # Errors
    /// If one of its daemons ends, or the Node is not Ready in 120 s.
    pub fn start(&self) -> Result<()> {
        ensure(self.layout, self.settings, &self.spec)?;
        hdfs::ensure_data_node(self.layout, &self.spec)?;
        await_ready(self.layout, &self.spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_four_nodes_in_two_zones_with_addresses_of_their_own() {
        let nodes: Vec<_> = all().collect();
        let zones: Vec<_> = nodes
            .iter()
            .map(|node| (node.name.as_str(), node.zone()))
            .collect();
        assert_eq!(
            zones,
            [
                ("node-1", "z1"),
                ("node-2", "z1"),
                ("node-3", "z2"),
                ("node-4", "z2")
            ]
        );
        assert_eq!(nodes[3].address(), Ipv4Addr::new(198, 18, 0, 14));
        assert_eq!(nodes[3].pod_range(), "198.19.4.0/24");
    }
}
