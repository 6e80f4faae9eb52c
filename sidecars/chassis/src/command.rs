use std::process::ExitCode;

use outrigger_control::layout;

use crate::settings::{Settings, environment};
use crate::{Builder, preflight, supervisor, worker};

/// Argument with which a supervisor starts its worker.
pub(crate) const WORKER_COMMAND: &str = "worker";

/// Exit code of a wrong call.
const USAGE: u8 = 2;

/// The whole life of a sidecar's process: its first argument says what it is.
///
/// `slot` runs a slot until SIGTERM, `preflight` tries the image and a document and exits. What
/// they need to know they read from the environment, see [`layout`]. `builder` is called at most
/// once, within the worker's asynchronous runtime.
pub fn main<B: Builder>(builder: impl FnOnce() -> B) -> ExitCode {
    let argument = std::env::args().nth(1);
    match argument.as_deref() {
        Some(layout::SLOT_COMMAND) => match Settings::read(environment) {
            Ok(settings) => supervisor::run(settings),
            Err(error) => supervisor::idle(&error),
        },
        Some(WORKER_COMMAND) => match Settings::read(environment) {
            Ok(settings) => worker::run(settings, builder),
            Err(error) => {
                eprintln!("{error}");
                ExitCode::from(USAGE)
            }
        },
        Some(layout::PREFLIGHT_COMMAND) => preflight::run(builder),
        other => {
            eprintln!(
                "argument is {}; allowed are {:?} and {:?}",
                other.map_or_else(|| "missing".to_owned(), |found| format!("{found:?}")),
                layout::SLOT_COMMAND,
                layout::PREFLIGHT_COMMAND
            );
            ExitCode::from(USAGE)
        }
    }
}
