//! `release`: lets pods go that wait for a node near their data.

use anyhow::{bail, ensure};
use clap::Args;
use outrigger_release::{Connections, HOLD, LEASE_NAME, Released, Step, release_all, release_in};

use crate::cluster;

/// Let pods go that wait for a node near their data.
///
/// With names, those pods; with a namespace alone, all pods that wait there now. They run wherever
/// the scheduler puts them. The operator goes on, and new pods wait as before.
///
/// With --all, every pod of the cluster, before Outrigger is removed: the operator is stopped and
/// the admission webhook is taken away first, so that no other pod comes to wait.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names of pods.
    #[arg(value_name = "POD")]
    pods: Vec<String>,
    /// Stop the operator, and let every pod of the cluster go.
    #[arg(long, conflicts_with = "pods")]
    all: bool,
}

/// Says on the standard output what is done, and what is to be done next.
pub(crate) async fn run(arguments: &Arguments, cluster: &cluster::Choice) -> anyhow::Result<()> {
    let Arguments { pods, all } = arguments;
    if *all {
        ensure!(
            cluster.namespace.is_none(),
            "--all is about the whole cluster; leave out --namespace, or leave out --all to let the pods of one namespace go"
        );
        let connections = Connections::new(cluster.config().await?)?;
        let tell = |step: &Step| println!("{step}");
        let released = release_all(&connections, None, &tell).await?;
        print!("{}", next(&released));
        return Ok(());
    }
    if pods.is_empty() && cluster.namespace.is_none() {
        bail!("which pods? Name some, or a namespace (--namespace), or say --all");
    }
    let config = cluster.config().await?;
    let namespace = config.default_namespace.clone();
    let client = Connections::new(config)?.client;
    let released = release_in(&client, &namespace, pods).await?;
    if pods.is_empty() && released.pods.is_empty() {
        println!("no pod of namespace {namespace} waits behind the gate");
    }
    for pod in &released.pods {
        println!("pod {pod} released");
    }
    for pod in &released.not_gated {
        println!("pod {pod} does not wait behind the gate");
    }
    Ok(())
}

/// What to do after everything was released.
fn next(released: &Released) -> String {
    let minutes = HOLD.as_secs() / 60;
    let Some(namespace) = released.stopped.first() else {
        return String::new();
    };
    format!(
        "\nRemove the operator within {minutes} minutes, or it goes on where it was:\n  \
         helm uninstall outrigger --namespace {namespace}\n  \
         kubectl delete -k config/default\n\
         To keep it, and let it go on at once:\n  \
         kubectl patch lease {LEASE_NAME} --namespace {namespace} --type merge --patch '{{\"spec\":{{\"holderIdentity\":\"\"}}}}'\n"
    )
}
