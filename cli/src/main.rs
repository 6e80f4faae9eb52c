//! A plugin of kubectl: `kubectl outrigger`. One module for each command.

mod cluster;
mod release;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What Outrigger does on a cluster, by hand.
#[derive(Debug, Parser)]
#[command(name = "kubectl-outrigger", bin_name = "kubectl outrigger", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: cluster::Arguments,
}

#[derive(Debug, Subcommand)]
enum Command {
    Release(release::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { command, cluster } = Arguments::parse();
    let done = match command {
        Command::Release(arguments) => release::run(&arguments, &cluster).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
