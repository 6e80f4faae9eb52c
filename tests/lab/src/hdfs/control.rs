//! DataNodes and NameNodes killed, started, taken out of service, and waited for.

use std::fs;
use std::time::Duration;

use rustix::process::Signal;

use super::{DATA_NODE, Hdfs, HdfsStatus, Life, NameNode, Shape, daemons, jmx, site};
use crate::error::{Error, FileContext, Result};
use crate::layout::write_file;
use crate::node::{self, NodeSpec};
use crate::{daemon, wait};

/// How long a DataNode may take to be live, dead, or decommissioned.
const PATIENCE: Duration = Duration::from_secs(90);

impl Hdfs {
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
        super::start(&self.layout, which.name())
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

    pub(super) fn ensure_active(&self) -> Result<()> {
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
    pub(super) fn view(&self) -> Result<jmx::View, String> {
        let active = self.active().ok_or("no NameNode is active")?;
        jmx::view(active)
    }

    pub(super) fn await_life(&self, node: &str, wanted: Life) -> Result<()> {
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
}

fn find(node: &str) -> Result<NodeSpec> {
    node::all()
        .find(|known| known.name == node)
        .ok_or_else(|| Error::UnknownNode {
            name: node.to_owned(),
            known: node::all().map(|it| it.name).collect::<Vec<_>>().join(", "),
        })
}
