//! The promises of two slots, kept by real processes on loopback.
//!
//! The slots run a small sidecar, which is this very program: started with a slot's environment it
//! is the sidecar, otherwise it runs the tests.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod admin;
mod client;
mod configuration;
mod crashes;
mod exclusives;
mod fairness;
mod former;
mod handovers;
mod hangs;
mod http2;
mod ledger;
mod lines;
mod load;
mod orders;
mod peer;
mod pod;
mod preflight;
mod protocol;
mod sidecar;
mod sockets;
mod stops;
mod supervision;
mod tally;
mod tenants;
mod upgrades;

use std::future::Future;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    if sidecar::is_this() {
        return outrigger_chassis::main(sidecar::Echo::default);
    }
    let mut arguments = Arguments::from_args();
    // Each test wants the machine for itself.
    arguments.test_threads.get_or_insert(1);
    let trials = [
        handovers::trials(),
        crashes::trials(),
        hangs::trials(),
        protocol::trials(),
        orders::trials(),
        stops::trials(),
        configuration::trials(),
        supervision::trials(),
        preflight::trials(),
        admin::trials(),
        tenants::trials(),
        fairness::trials(),
        sockets::trials(),
        http2::trials(),
        upgrades::trials(),
        exclusives::trials(),
        former::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit_code()
}

/// A test named after its function.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials() -> Vec<libtest_mimic::Trial> {
            vec![$(crate::trial(stringify!($name), $name)),*]
        }
    };
}
use trials;

fn trial<F>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        runtime.block_on(test());
        Ok(())
    })
}
