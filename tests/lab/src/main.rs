//! A real Kubernetes on one machine, from package registries.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outrigger_lab::{Lab, Progress, install_packages, tool};

/// A real Kubernetes on one machine: one control plane, four nodes in two zones, an image registry
/// and PostgreSQL.
///
/// State is in OUTRIGGER_LAB_DIR (/var/lib/outrigger-lab), binaries are kept in OUTRIGGER_CACHE
/// (~/.cache/outrigger).
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring the lab up, or what of it is missing
    Up,
    /// Remove the lab without a trace
    Down,
    /// Show what of the lab runs; fail if not all does
    Status,
    /// Print the lab's environment for a shell: eval "$(lab env)"
    Env,
    /// Install the Debian packages that the lab and the tests use
    Packages,
    /// Print the path of kubectl or helm, built if need be; needs no lab that is up
    Tool {
        /// kubectl or helm
        name: String,
    },
    /// Run a program on a node, as if logged in there
    Node {
        /// node-1 to node-4
        name: String,
        /// The program
        program: OsString,
        /// Its arguments
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Let a component run, or stop it: kube-apiserver, postgres, node-1/kubelet, … (see status)
    Component {
        /// Its name
        name: String,
        /// What to do with it
        #[arg(value_enum)]
        action: Action,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Action {
    /// Kill it at once, as a crash would
    Kill,
    /// Stop it in an orderly way
    Stop,
    /// Let it run, and wait until it is ready
    Start,
    /// Stop and start it
    Restart,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let progress = Progress::stderr();
    match command {
        Command::Up => {
            Lab::up(&progress)?;
            progress.say("the lab is up; eval \"$(make -s lab-env)\" to use it");
        }
        Command::Down => {
            Lab::down(&progress)?;
            progress.say("the lab is down, and nothing of it is left");
        }
        Command::Status => {
            let status = Lab::open()?.status()?;
            write!(io::stdout(), "{status}")?;
            if !status.is_whole() {
                return Ok(ExitCode::FAILURE);
            }
        }
        Command::Env => {
            for (name, value) in Lab::open()?.environment() {
                writeln!(
                    io::stdout(),
                    "export {name}={}",
                    quote(&value.to_string_lossy())
                )?;
            }
        }
        Command::Packages => install_packages(&progress)?,
        Command::Tool { name } => writeln!(io::stdout(), "{}", tool(&name, &progress)?.display())?,
        Command::Node {
            name,
            program,
            arguments,
        } => {
            let lab = Lab::open()?;
            // Replaces this program, so that signals and the exit status are the command's own.
            return Err(lab
                .node(&name)?
                .command(program)
                .args(arguments)
                .exec()
                .into());
        }
        Command::Component { name, action } => {
            let lab = Lab::open()?;
            let component = lab.component(&name)?;
            match action {
                Action::Kill => component.kill()?,
                Action::Stop => component.stop()?,
                Action::Start => component.start()?,
                Action::Restart => component.restart()?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A word as a POSIX shell reads it back.
fn quote(text: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "/:._-@%+=,".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_shell_reads_back_what_was_quoted(text in "[^\0]{0,40}") {
            let said = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quote(&text))).output();
            prop_assert_eq!(said.unwrap().stdout, text.into_bytes());
        }
    }
}
