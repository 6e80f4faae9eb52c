//! A plugin of kubectl: `kubectl outrigger`. One module for each command.

mod cluster;
mod release;
mod rollout;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What Outrigger does on a cluster, by hand.
#[derive(Debug, Parser)]
#[command(name = "kubectl-outrigger", bin_name = "kubectl outrigger", version)]
struct Plugin {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    cluster: cluster::Choice,
}

#[derive(Debug, Subcommand)]
enum Command {
    Release(release::Arguments),
    Rollout(rollout::Arguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Plugin { command, cluster } = Plugin::parse();
    let done = match command {
        Command::Release(arguments) => release::run(&arguments, &cluster).await,
        Command::Rollout(arguments) => rollout::run(&arguments, &cluster).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use clap::CommandFactory;

    use super::*;

    #[test]
    fn commands_and_flags_do_not_contradict_each_other() {
        Plugin::command().debug_assert();
    }

    #[test]
    fn flags_of_the_cluster_go_before_or_after_the_command() {
        for line in ["-n risk release web-0", "release web-0 --namespace=risk"] {
            let words = ["kubectl-outrigger"].into_iter().chain(line.split(' '));
            let plugin = Plugin::try_parse_from(words).unwrap();
            assert_eq!(plugin.cluster.namespace.as_deref(), Some("risk"));
        }
    }

    #[test]
    fn all_pods_and_some_pods_are_not_asked_for_at_once() {
        let words = ["kubectl-outrigger", "release", "--all", "web-0"];
        let error = Plugin::try_parse_from(words).unwrap_err().to_string();
        assert!(
            error.contains("'--all' cannot be used with '[POD]...'"),
            "{error}"
        );
    }
}
