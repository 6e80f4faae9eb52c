//! `rollout`: what becomes of a sidecar's new image.

mod gitops;
mod history;
mod pause;
mod resume;
mod status;
mod table;
mod target;
mod undo;

#[cfg(test)]
mod fixtures;

use clap::{Args, Subcommand};
use kube::Client;

use crate::cluster;
use target::{Named, Target};

/// See, stop, continue and take back the rollout of a sidecar's image.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    /// List the images that the sidecar had, the oldest first.
    ///
    /// POD counts the pods that have the image in one of their slots. `rollout undo` goes back to one.
    History(Named),
    Undo(undo::Arguments),
    /// Start no further swap. A pod whose swap has begun is brought to its end.
    Pause(Named),
    /// Go on with a rollout that was paused, and bring a staged image to the running pods too.
    Resume(Named),
}

/// Says on the standard output what was found or done.
pub(crate) async fn run(arguments: &Arguments, cluster: &cluster::Choice) -> anyhow::Result<()> {
    let config = cluster.config().await?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config)?;
    let target = |sidecar: &Named| Target::new(client.clone(), &namespace, &sidecar.name);
    let said = match &arguments.command {
        Command::Status(arguments) => {
            let tell = |line: &str| println!("{line}");
            return status::run(&target(&arguments.sidecar)?, arguments, &tell).await;
        }
        Command::History(sidecar) => history::run(&target(sidecar)?).await?,
        Command::Undo(arguments) => undo::run(&target(&arguments.sidecar)?, arguments).await?,
        Command::Pause(sidecar) => pause::run(&target(sidecar)?).await?,
        Command::Resume(sidecar) => resume::run(&target(sidecar)?).await?,
    };
    print!("{said}");
    Ok(())
}
