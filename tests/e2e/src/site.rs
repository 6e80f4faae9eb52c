//! The lab that is up, as the demo and tests use it.

use std::path::PathBuf;

use anyhow::Context;
use outrigger_lab::Lab;

use crate::cluster::Cluster;
use crate::images::{Builder, Registry};

/// The lab with a client of its API server and a builder of images for its registry.
#[derive(Debug)]
pub struct Site {
    /// The lab.
    pub lab: Lab,
    /// Its API server, as administrator.
    pub cluster: Cluster,
    /// Its registry.
    pub images: Builder,
}

impl Site {
    /// The lab that was brought up.
    ///
    /// # Errors
    /// When none is up.
    pub async fn open() -> anyhow::Result<Site> {
        let lab = Lab::open().context("the lab is not up; `make lab-up` brings it up")?;
        let cluster = Cluster::connect(&lab.kubeconfig()).await?;
        let address = lab.registry().to_string();
        let registry = Registry {
            push: address.clone(),
            pull: address,
        };
        Ok(Site {
            cluster,
            images: Builder::new(registry)?,
            lab,
        })
    }

    /// One of the lab's tools: kubectl, helm.
    pub fn tool(&self, name: &str) -> PathBuf {
        self.lab.tools().join(name)
    }

    /// What kubectl writes to its standard output.
    ///
    /// # Errors
    /// When it fails, with what it wrote to its standard error.
    pub async fn kubectl(&self, line: &str) -> anyhow::Result<String> {
        let kubeconfig = self.lab.kubeconfig();
        let mut arguments = vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
        arguments.extend(line.split_whitespace().map(str::to_owned));
        crate::command::run(self.tool("kubectl"), arguments).await
    }

    /// What the plugin `kubectl outrigger` writes to its standard output.
    ///
    /// # Errors
    /// When it fails, with what it wrote to its standard error.
    pub async fn plugin(&self, line: &str) -> anyhow::Result<String> {
        let kubeconfig = self.lab.kubeconfig();
        let mut arguments = vec!["--kubeconfig".to_owned(), kubeconfig.display().to_string()];
        arguments.extend(line.split_whitespace().map(str::to_owned));
        let program = crate::project::binaries().join("kubectl-outrigger");
        crate::command::run(program, arguments).await
    }
}
