//! The promises of Outrigger on a real cluster. Ignored unless asked for, as `make test-e2e` does,
//! which brings the lab up.
//!
//! Tests run one after the other, each in a namespace and a database of its own. One that fails
//! leaves them when OUTRIGGER_E2E_KEEP is set. Those of placement bring up HDFS with two NameNodes,
//! in place of one of another shape, and leave it up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is how a test fails"
)]

mod applications;
mod crashes;
mod credentials;
mod custom;
mod disturbed;
mod examples;
mod foreign;
mod mended;
mod operator_killed;
mod parameters;
mod placement;
mod refused_images;
mod refused_objects;
mod replacement;
mod resources;
mod rollouts;
mod scene;
mod sharing;
mod sizes;
mod store;
mod strategies;
mod swaps;
mod tenants;
mod texts;
mod undo;
mod uninstall;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};
use tokio::runtime::Runtime;

use crate::scene::{Stage, Test};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // They share the cluster.
    arguments.test_threads = Some(1);
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    if arguments.list || !(arguments.ignored || arguments.include_ignored) {
        return libtest_mimic::run(&arguments, trials(|_| Ok(()))).exit_code();
    }
    let stage = match runtime.block_on(Stage::set()) {
        Ok(stage) => Arc::new(stage),
        Err(error) => {
            eprintln!("error: {error:#}");
            return ExitCode::FAILURE;
        }
    };
    let trials = trials({
        let (runtime, stage) = (Arc::clone(&runtime), Arc::clone(&stage));
        move |test| runtime.block_on(stage.play(test))
    });
    let conclusion = libtest_mimic::run(&arguments, trials);
    if let Err(error) = runtime.block_on(stage.clear()) {
        eprintln!("error: what the tests made does not go: {error:#}");
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

fn trials(play: impl Fn(&Test) -> anyhow::Result<()> + Clone + Send + 'static) -> Vec<Trial> {
    tests()
        .into_iter()
        .map(|test| {
            let (name, play) = (test.name, play.clone());
            let run = move || play(&test).map_err(|error| format!("{error:#}").into());
            Trial::test(name, run).with_ignored_flag(true)
        })
        .collect()
}

/// All tests; the last takes the operator away.
fn tests() -> Vec<Test> {
    [
        examples::tests(),
        texts::tests(),
        sizes::tests(),
        refused_objects::tests(),
        tenants::tests(),
        resources::tests(),
        applications::tests(),
        parameters::tests(),
        refused_images::tests(),
        swaps::tests(),
        rollouts::tests(),
        strategies::tests(),
        undo::tests(),
        custom::tests(),
        credentials::tests(),
        foreign::tests(),
        replacement::tests(),
        sharing::tests(),
        crashes::tests(),
        disturbed::tests(),
        operator_killed::tests(),
        store::tests(),
        placement::tests(),
        uninstall::tests(),
    ]
    .concat()
}
