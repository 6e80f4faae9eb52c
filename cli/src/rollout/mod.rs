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
use target::Target;

/// See, stop, continue and take back the rollout of a sidecar's image.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(status::Arguments),
    History(history::Arguments),
    Undo(undo::Arguments),
    Pause(pause::Arguments),
    Resume(resume::Arguments),
}

/// Says on the standard output what was found or done.
pub(crate) async fn run(arguments: &Arguments, cluster: &cluster::Choice) -> anyhow::Result<()> {
    let config = cluster.config().await?;
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config)?;
    let target = |name: &str| Target::new(client.clone(), &namespace, name);
    match &arguments.command {
        Command::Status(arguments) => {
            let tell = |line: &str| println!("{line}");
            status::run(&target(&arguments.name)?, arguments, &tell).await
        }
        Command::History(arguments) => {
            print!("{}", history::run(&target(&arguments.name)?).await?);
            Ok(())
        }
        Command::Undo(arguments) => {
            print!("{}", undo::run(&target(&arguments.name)?, arguments).await?);
            Ok(())
        }
        Command::Pause(arguments) => {
            print!("{}", pause::run(&target(&arguments.name)?).await?);
            Ok(())
        }
        Command::Resume(arguments) => {
            print!("{}", resume::run(&target(&arguments.name)?).await?);
            Ok(())
        }
    }
}
