//! The lab's components by name: killed, stopped and started alone.

use std::time::Duration;

use rustix::process::Signal;

use crate::error::{Error, Result};
use crate::lab::Settings;
use crate::layout::Layout;
use crate::{control_plane, daemon, dns, hdfs, node, postgres, registry};

/// The names of all components, in the order in which they are started; HDFS's if it is up.
pub(crate) fn names(layout: &Layout) -> Vec<String> {
    let center = [
        registry::NAME,
        postgres::NAME,
        control_plane::ETCD,
        control_plane::API_SERVER,
        control_plane::CONTROLLER_MANAGER,
        control_plane::SCHEDULER,
        control_plane::PROXY,
        dns::NAME,
    ];
    center
        .into_iter()
        .map(str::to_owned)
        .chain(node::all().flat_map(|node| node.daemons()))
        .chain(hdfs::settings(layout).map_or_else(Vec::new, |hdfs| hdfs::names(hdfs.shape)))
        .collect()
}

/// One process of the lab with all that it started: `kube-apiserver`, `postgres`, `node-1/kubelet`.
#[derive(Debug)]
pub struct Component<'a> {
    layout: &'a Layout,
    settings: &'a Settings,
    name: String,
}

impl<'a> Component<'a> {
    pub(crate) fn new(layout: &'a Layout, settings: &'a Settings, name: &str) -> Result<Self> {
        let names = names(layout);
        if !names.iter().any(|known| known == name) {
            return Err(Error::UnknownComponent {
                name: name.to_owned(),
                known: names.join(", "),
            });
        }
        Ok(Self {
            layout,
            settings,
            name: name.to_owned(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The number of its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        daemon::running(self.layout, &self.name).map(|process| process.pid)
    }

    /// Kills it at once, as a crash would. Pods outlive their kubelet and containerd.
    ///
    /// # Errors
    /// If processes of it cannot be ended.
    pub fn kill(&self) -> Result<()> {
        daemon::stop(
            self.layout,
            &self.name,
            Signal::KILL,
            Duration::from_secs(10),
        )
    }

    /// Stops it in an orderly way; kills it after 30 s.
    ///
    /// # Errors
    /// If processes of it cannot be ended.
    pub fn stop(&self) -> Result<()> {
        // PostgreSQL waits for its clients' leave at TERM, and closes their connections at INT.
        let signal = if self.name == postgres::NAME {
            Signal::INT
        } else {
            Signal::TERM
        };
        daemon::stop(self.layout, &self.name, signal, Duration::from_secs(30))
    }

    /// Lets it run, and waits until it is ready.
    ///
    /// # Errors
    /// If it ends at once or is not ready in its time; the error quotes its log.
    pub fn start(&self) -> Result<()> {
        let (layout, settings) = (self.layout, self.settings);
        let of_hdfs = |hdfs: hdfs::Settings| hdfs::names(hdfs.shape).contains(&self.name);
        if hdfs::settings(layout).is_some_and(of_hdfs) {
            return hdfs::start(layout, &self.name);
        }
        if let Some((node, program)) = self.name.split_once('/') {
            let Some(node) = node::all().find(|known| known.name == node) else {
                return Ok(());
            };
            node::ensure_daemon(layout, settings, &node, program)?;
            return node::await_daemon(layout, &node, program);
        }
        match self.name.as_str() {
            registry::NAME => registry::ensure(layout),
            postgres::NAME => postgres::ensure(layout),
            control_plane::PROXY => control_plane::ensure_proxy(layout, settings),
            dns::NAME => dns::ensure(layout, settings),
            control_plane::CONTROLLER_MANAGER | control_plane::SCHEDULER => {
                control_plane::ensure_controllers(layout, settings)
            }
            _ => {
                control_plane::start(layout, settings)?;
                control_plane::await_api_server(layout)
            }
        }
    }

    /// [`Component::stop`] and [`Component::start`].
    ///
    /// # Errors
    /// As these two.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start()
    }
}
