//! The operator's binary.

mod arguments;
mod check;
mod hold;
mod identity;
mod leader;
mod permissions;
mod program;
mod release;
mod replica;

use std::future::Future;
use std::io;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::Runtime;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    match Arguments::parse().command {
        // One thread and little memory: there is a holder in every function pod.
        Command::Hold(arguments) => hold::run(&arguments),
        Command::Run(arguments) => finish(async {
            replica::run(arguments)
                .await
                .inspect_err(|error| tracing::error!("the operator ends: {error}"))
        }),
        Command::Check(arguments) => match runtime() {
            Ok(runtime) => match runtime.block_on(check::run(&arguments)) {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            },
            Err(error) => failure(&error),
        },
        Command::Release(arguments) => finish(release::run(arguments)),
        Command::CopyTo { path } => match program::copy_to(&path) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failure(&error),
        },
        Command::Pulled => ExitCode::SUCCESS,
    }
}

/// Does the work of a command.
fn finish<E: std::error::Error>(work: impl Future<Output = Result<(), E>>) -> ExitCode {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error),
    };
    match runtime.block_on(work) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure(&error),
    }
}

fn runtime() -> io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// Says on the standard error too what is wrong: logs may not have begun.
fn failure(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
