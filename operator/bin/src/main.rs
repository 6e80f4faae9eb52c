//! The operator's binary.

mod arguments;
mod check;
mod identity;
mod leader;
mod permissions;
mod program;
mod release;
mod replica;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failure(&error),
    };
    let result = match command {
        Command::Run(arguments) => runtime.block_on(replica::run(arguments)),
        Command::Check(arguments) => match runtime.block_on(check::run(&arguments)) {
            true => Ok(()),
            false => return ExitCode::FAILURE,
        },
        Command::Release(arguments) => match runtime.block_on(release::run(arguments)) {
            Ok(()) => Ok(()),
            Err(error) => return failure(&error),
        },
        Command::CopyTo { path } => match program::copy_to(&path) {
            Ok(()) => Ok(()),
            Err(error) => return failure(&error),
        },
        Command::Pulled => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the operator ends: {error}");
            failure(&error)
        }
    }
}

/// Says on the standard error too what is wrong: logs may not have begun.
fn failure(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
