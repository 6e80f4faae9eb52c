//! `load` is a container that sends requests as its control port says; anything else is a sidecar.

use std::process::ExitCode;

use outrigger_bench::{control, function::BenchBuilder};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("load") => match control::main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        },
        _ => outrigger_chassis::main(BenchBuilder::default),
    }
}
