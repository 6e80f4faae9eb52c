//! The whole lab: up, down, and what tests ask of it.

use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::artifacts::{self, Program};
use crate::cgroup::Cgroups;
use crate::component::Component;
use crate::error::{Error, FileContext, Result};
use crate::hdfs::{Hdfs, Shape};
use crate::inventory::Inventory;
use crate::layout::{Layout, remove_tree, write_file};
use crate::local_volume::{self, LocalVolume};
use crate::lock::Lock;
use crate::node::{Node, PAUSE_REFERENCE};
use crate::postgres::Postgres;
use crate::progress::Progress;
use crate::status::Status;
use crate::{
    control_plane, daemon, dns, hdfs, image, mounts, namespace, network, node, packages, pki,
    postgres, registry, requirements, sysctl,
};

/// What an up lab was made with; later runs and tests read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The directory of the Kubernetes binaries.
    pub(crate) kube: PathBuf,
    /// CoreDNS's binary.
    pub(crate) coredns: PathBuf,
    /// Helm's binary.
    pub(crate) helm: PathBuf,
    /// containerd's snapshotter.
    pub(crate) snapshotter: String,
}

/// A lab that was brought up.
#[derive(Debug)]
pub struct Lab {
    layout: Layout,
    settings: Settings,
}

impl Lab {
    /// Brings the lab up, or what of it is missing; leaves alone what runs.
    ///
    /// # Errors
    /// If this machine lacks something, or a component does not become ready; the text says what to
    /// do, or quotes the component's log.
    pub fn up(progress: &Progress) -> Result<Self> {
        let layout = Layout::from_env()?;
        requirements::check(&layout)?;
        network::check_free(&layout)?;
        let _lock = lock(&layout, progress)?;
        progress.step("Debian packages", packages::ensure)?;
        // A machine that had no `ip` until now could not be looked at before.
        network::check_free(&layout)?;
        progress.step("kernel", |_| requirements::check_kernel())?;

        let go = artifacts::go_version()?;
        let build = |program: &Program| {
            progress.step(program.title, |step| program.ensure(&layout, &go, step))
        };
        let pause = build(&artifacts::PAUSE)?;
        let settings = Settings {
            coredns: build(&artifacts::COREDNS)?.join("coredns"),
            helm: build(&artifacts::HELM)?.join("helm"),
            kube: build(&artifacts::KUBE)?,
            snapshotter: snapshotter(&layout).to_owned(),
        };
        write_file(&layout.settings(), serde_json::json!(settings).to_string())?;
        link_tools(&layout, &settings)?;
        image::write_archive(&pause.join("pause"), PAUSE_REFERENCE, &layout.pause_image())?;
        pki::ensure(&layout)?;
        sysctl::keep(&layout)?;

        let lab = Self { layout, settings };
        lab.start(progress)?;
        Ok(lab)
    }

    fn start(&self, progress: &Progress) -> Result<()> {
        let (layout, settings) = (&self.layout, &self.settings);
        progress.step("network", |_| network::ensure(layout))?;
        layout.ensure_data()?;
        control_plane::start(layout, settings)?;
        progress.step("registry", |_| registry::ensure(layout))?;
        progress.step("PostgreSQL", |_| postgres::ensure(layout))?;
        progress.step("API server", |_| {
            control_plane::await_ready(layout, settings, progress)
        })?;
        progress.step("controllers", |_| {
            control_plane::ensure_controllers(layout, settings)
        })?;
        progress.step("DNS", |_| dns::ensure(layout, settings))?;
        for node in node::all() {
            let title = format!("{} started", node.name);
            progress.step(&title, |_| node::ensure(layout, settings, &node))?;
        }
        for node in node::all() {
            progress.step(&node.name, |step| {
                node::await_ready(layout, &node)?;
                step.note(format!("Ready, {}, zone {}", node.address(), node.zone()));
                Ok::<_, Error>(())
            })?;
        }
        // It wants a Node to stand in for, so it comes last.
        progress.step("Service addresses", |_| {
            control_plane::ensure_proxy(layout, settings)
        })?;
        // It was asked for before, and is brought back as the rest is.
        if let Some(hdfs) = hdfs::settings(layout) {
            hdfs::up(layout, settings, hdfs.shape, progress)?;
        }
        Ok(())
    }

    /// Brings HDFS up, or what of it is missing; leaves alone what runs. If it is up in another
    /// shape, a new, empty file system takes its place.
    ///
    /// # Errors
    /// If Java or Hadoop cannot be had, or a process does not become ready; the text quotes its log.
    pub fn hdfs_up(&self, shape: Shape, progress: &Progress) -> Result<Hdfs> {
        let _lock = lock(&self.layout, progress)?;
        hdfs::up(&self.layout, &self.settings, shape, progress)
    }

    /// Removes HDFS with all its data; what Maven fetched stays in the cache.
    ///
    /// # Errors
    /// If something of it cannot be removed.
    pub fn hdfs_down(&self, progress: &Progress) -> Result<()> {
        let _lock = lock(&self.layout, progress)?;
        hdfs::down(&self.layout, progress)
    }

    /// The HDFS that is up.
    ///
    /// # Errors
    /// If none was brought up.
    pub fn hdfs(&self) -> Result<Hdfs> {
        Hdfs::open(&self.layout)
    }

    /// Makes a local PersistentVolume: a directory on a node's disk and the object, of the
    /// StorageClass `local`. Returns the directory, as this program sees it.
    ///
    /// # Errors
    /// If the node is unknown, or the API server refuses the object.
    pub fn create_local_volume(&self, volume: &LocalVolume) -> Result<PathBuf> {
        local_volume::create(&self.layout, volume)
    }

    /// Removes a local PersistentVolume and its directory with all in it.
    ///
    /// # Errors
    /// If the API server refuses it, or the directory cannot be removed.
    pub fn remove_local_volume(&self, name: &str) -> Result<()> {
        local_volume::remove(&self.layout, name)
    }

    /// The lab that is up.
    ///
    /// # Errors
    /// If none was brought up since the machine started.
    pub fn open() -> Result<Self> {
        let layout = Layout::from_env()?;
        let not_up = |reason: &str| Error::NotUp {
            state: layout.state().to_owned(),
            reason: reason.to_owned(),
        };
        let text = fs::read(layout.settings()).map_err(|_| not_up("it was never brought up"))?;
        let settings =
            serde_json::from_slice(&text).map_err(|_| not_up("another version brought it up"))?;
        if !namespace::exists(&network::control_plane_file(&layout))? {
            return Err(not_up("its network is gone"));
        }
        Ok(Self { layout, settings })
    }

    /// Removes the lab: processes, namespaces, mounts, control groups, link and routes, and all its
    /// data. What was built stays in the cache. Works on half a lab, and on none.
    ///
    /// # Errors
    /// If something cannot be removed, or is still there after all.
    pub fn down(progress: &Progress) -> Result<()> {
        let layout = Layout::from_env()?;
        requirements::check_privileges()?;
        network::check_free(&layout)?;
        let _lock = lock(&layout, progress)?;
        let inventory = Inventory::take_of(&layout)?;
        progress.step("processes", |step| {
            let cgroups = Cgroups::detect()?;
            step.note(format!("{} to end", cgroups.pids("").len()));
            daemon::stop(
                &layout,
                postgres::NAME,
                Signal::INT,
                Duration::from_secs(10),
            )?;
            cgroups.kill("")?;
            inventory.kill();
            network::remove(&layout)?;
            cgroups.remove("")
        })?;
        sysctl::restore(&layout)?;
        packages::remove_own_policy()?;
        progress.step("data", |_| remove_state(&layout))?;
        let left = inventory.left()?;
        if left.is_empty() {
            Ok(())
        } else {
            Err(Error::Leftovers(left))
        }
    }

    /// What of the lab runs.
    ///
    /// # Errors
    /// If no lab is up.
    pub fn status(&self) -> Result<Status> {
        Status::read(&self.layout)
    }

    /// What there is of the lab on this machine now.
    ///
    /// # Errors
    /// If the machine's tables cannot be read.
    pub fn inventory(&self) -> Result<Inventory> {
        Inventory::take_of(&self.layout)
    }

    /// The administrator's kubeconfig, which holds its certificates itself.
    pub fn kubeconfig(&self) -> PathBuf {
        self.layout.kubeconfig()
    }

    /// The directory of kubectl and helm.
    pub fn tools(&self) -> PathBuf {
        self.layout.tools()
    }

    /// The registry's address, plain HTTP. It names images for the nodes
    /// (`198.18.0.2:5000/shop:1`) and for buildah and skopeo on the host.
    pub fn registry(&self) -> SocketAddr {
        registry::address()
    }

    /// How to reach PostgreSQL.
    pub fn postgres(&self) -> Postgres {
        Postgres::new(&self.layout)
    }

    /// The host's address, where pods reach what runs beside the lab.
    pub fn host(&self) -> std::net::Ipv4Addr {
        network::HOST
    }

    /// The nodes.
    pub fn nodes(&self) -> Vec<Node<'_>> {
        node::all()
            .map(|spec| Node::new(&self.layout, &self.settings, spec))
            .collect()
    }

    /// One node.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn node(&self, name: &str) -> Result<Node<'_>> {
        let known = || {
            node::all()
                .map(|node| node.name)
                .collect::<Vec<_>>()
                .join(", ")
        };
        let spec = node::all().find(|node| node.name == name);
        let spec = spec.ok_or_else(|| Error::UnknownNode {
            name: name.to_owned(),
            known: known(),
        })?;
        Ok(Node::new(&self.layout, &self.settings, spec))
    }

    /// One component: `etcd`, `kube-apiserver`, `postgres`, `registry`, `node-1/kubelet`, …
    ///
    /// # Errors
    /// If there is none of that name; the error lists them.
    pub fn component(&self, name: &str) -> Result<Component<'_>> {
        Component::new(&self.layout, &self.settings, name)
    }

    /// The environment that programs which use the lab are run with.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        let postgres = self.postgres();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let others = std::env::split_paths(&path).filter(|directory| *directory != self.tools());
        let path =
            std::env::join_paths(std::iter::once(self.tools()).chain(others)).unwrap_or(path);
        let mut environment: Vec<(_, OsString)> = vec![
            ("KUBECONFIG", self.kubeconfig().into()),
            ("KUBECACHEDIR", self.layout.tool_cache().into()),
            (
                "CONTAINERS_REGISTRIES_CONF",
                registry::clients_file(&self.layout).into(),
            ),
            ("NO_PROXY", network::without_proxy()),
            ("OUTRIGGER_LAB_DIR", self.layout.state().into()),
            ("OUTRIGGER_LAB_REGISTRY", self.registry().to_string().into()),
            ("OUTRIGGER_LAB_POSTGRES_URL", postgres.url().into()),
            ("OUTRIGGER_LAB_POSTGRES_CA", postgres.authority.into()),
            ("OUTRIGGER_LAB_HOST", self.host().to_string().into()),
            ("PATH", path),
        ];
        if let Ok(hdfs) = self.hdfs() {
            environment.extend(hdfs.environment());
        }
        environment
    }
}

/// The path of a tool of the lab, `kubectl` or `helm`, built if need be. Needs no lab that is up.
///
/// # Errors
/// If there is no such tool, or it cannot be built.
pub fn tool(name: &str, progress: &Progress) -> Result<PathBuf> {
    let program = match name {
        "helm" => &artifacts::HELM,
        "kubectl" => &artifacts::KUBE,
        _ => {
            return Err(Error::UnknownTool {
                name: name.to_owned(),
                known: "kubectl, helm".to_owned(),
            });
        }
    };
    let (layout, go) = (Layout::from_env()?, artifacts::go_version()?);
    let directory = program.directory(&layout, &go);
    if directory.is_dir() {
        return Ok(directory.join(name));
    }
    Ok(progress
        .step(program.title, |step| program.ensure(&layout, &go, step))?
        .join(name))
}

/// Installs the Debian packages that the lab and the tests use, where they are missing.
///
/// # Errors
/// If this machine lacks root or apt-get, or the installation fails.
pub fn install_packages(progress: &Progress) -> Result<()> {
    requirements::check_privileges()?;
    let _lock = lock(&Layout::from_env()?, progress)?;
    progress.step("Debian packages", packages::ensure)
}

fn lock(layout: &Layout, progress: &Progress) -> Result<Lock> {
    Lock::acquire(&layout.lock(), || {
        progress.say("waiting for another lab program to end")
    })
}

/// What was chosen once stays: images are kept in its form.
fn snapshotter(layout: &Layout) -> &'static str {
    let earlier = fs::read(layout.settings())
        .ok()
        .and_then(|text| serde_json::from_slice::<Settings>(&text).ok());
    let native = earlier.map_or_else(
        || !requirements::overlay_works(layout),
        |settings| settings.snapshotter == "native",
    );
    if native { "native" } else { "overlayfs" }
}

fn link_tools(layout: &Layout, settings: &Settings) -> Result<()> {
    let tools = layout.tools();
    fs::create_dir_all(&tools).at("create", &tools)?;
    for (name, target) in [
        ("kubectl", settings.kube.join("kubectl")),
        ("helm", settings.helm.clone()),
    ] {
        let link = tools.join(name);
        if fs::read_link(&link).is_ok_and(|there| there == target) {
            continue;
        }
        let fresh = tools.join(format!("{name}.new"));
        let _ = fs::remove_file(&fresh);
        symlink(&target, &fresh).at("link", &fresh)?;
        fs::rename(&fresh, &link).at("link", &link)?;
    }
    Ok(())
}

/// Removes the state directory. Never reaches into something that is mounted there.
fn remove_state(layout: &Layout) -> Result<()> {
    let state: &Path = layout.state();
    let mounted: Vec<_> = mounts::current()?
        .below(state)
        .map(|mount| format!("mount {}", mount.point.display()))
        .collect();
    if !mounted.is_empty() {
        return Err(Error::Leftovers(mounted));
    }
    remove_tree(state)
}
