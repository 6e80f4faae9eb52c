//! `release`: what the chart does before it is uninstalled.

use kube::Config;
use kube::config::InferConfigError;
use outrigger_release::{Connections, Place, ReleaseError, Step, release_all};

use crate::arguments::ReleaseArguments;

/// What to do when it cannot be done from inside the cluster.
const BY_HAND: &str = "if it stays so: helm uninstall --no-hooks, and then the kubectl line of \"Uninstall\" in docs/operations.md";

/// Pods may be left behind the gate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "no way to the API server: {0}; run in a pod with a service account, or set KUBECONFIG"
    )]
    Configuration(#[from] InferConfigError),
    #[error("the way to the API server cannot be used: {0}")]
    Client(#[from] kube::Error),
    #[error("{0}; {BY_HAND}")]
    Release(#[from] ReleaseError),
}

/// Says on the standard output what is done.
pub(crate) async fn run(arguments: ReleaseArguments) -> Result<(), Error> {
    let connections = Connections::new(Config::infer().await?)?;
    let place = Place {
        namespace: arguments.place.namespace,
        cluster_role: arguments.place.cluster_role,
    };
    let tell = |step: &Step| println!("{step}");
    release_all(&connections, Some(place), &tell).await?;
    Ok(())
}
