//! `load` is a container that sends requests as its control port says, `successor` a sidecar that is
//! replaced as proxies replace themselves; anything else is a sidecar of Outrigger.

use std::process::ExitCode;

use outrigger_bench::{control, function, successor};

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("load") => code(control::main()),
        Some("successor") => code(successor::main()),
        _ => outrigger_chassis::main(function::builder),
    }
}

fn code(ended: anyhow::Result<()>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
