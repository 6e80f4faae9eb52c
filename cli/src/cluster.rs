//! The cluster that is meant, chosen as kubectl does.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use kube::Config;
use kube::config::{KubeConfigOptions, Kubeconfig};

/// Flags of all commands.
#[derive(Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(crate) struct Choice {
    /// Namespace; otherwise that of the context.
    #[arg(short, long, global = true)]
    pub(crate) namespace: Option<String>,
    /// Context of the kubeconfig; otherwise the current one.
    #[arg(long, global = true)]
    context: Option<String>,
    /// Path of the kubeconfig; otherwise KUBECONFIG, or ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Choice {
    /// Address, credentials and namespace.
    pub(crate) async fn config(&self) -> anyhow::Result<Config> {
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let mut config = match &self.kubeconfig {
            None => Config::from_kubeconfig(&options)
                .await
                .context("the kubeconfig cannot be used; set KUBECONFIG, or say --kubeconfig")?,
            Some(file) => {
                let unusable = || format!("kubeconfig {} cannot be used", file.display());
                let kubeconfig = Kubeconfig::read_from(file).with_context(unusable)?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .with_context(unusable)?
            }
        };
        if let Some(namespace) = &self.namespace {
            config.default_namespace = namespace.clone();
        }
        Ok(config)
    }
}
