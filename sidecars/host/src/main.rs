//! The sidecar's binary: the chassis with the functions it hosts.

use std::process::ExitCode;

use outrigger_idempotency::IdempotencyBuilder;

fn main() -> ExitCode {
    outrigger_chassis::main(IdempotencyBuilder::new)
}
