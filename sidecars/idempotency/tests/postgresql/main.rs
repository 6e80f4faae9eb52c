//! The promises of the function, kept with a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod configuration;
mod connections;
mod documents;
mod expiry;
mod outages;
mod proxy;
mod refusals;
mod server;
mod sidecar;
mod tls;
mod uniqueness;

use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};

use self::server::Server;

/// Ends a test that waits in vain.
const LIMIT: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if arguments.list {
        return libtest_mimic::run(&arguments, all(None)).exit_code();
    }
    // One server for all tests that do not hurt it. It stops at the end of this function, and with
    // this thread if the program is killed.
    let server = Arc::new(Server::start());
    libtest_mimic::run(&arguments, all(Some(&server))).exit_code()
}

fn all(server: Option<&Arc<Server>>) -> Vec<Trial> {
    [
        documents::trials(server),
        uniqueness::trials(server),
        configuration::trials(server),
        refusals::trials(server),
        expiry::trials(server),
        connections::trials(server),
        outages::trials(server),
        tls::trials(server),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Tests named after their functions, each with a database of its own.
macro_rules! trials {
    ($($name:ident),* $(,)?) => {
        pub(crate) fn trials(
            server: Option<&std::sync::Arc<crate::server::Server>>,
        ) -> Vec<libtest_mimic::Trial> {
            vec![$({
                let server = server.cloned();
                crate::trial(stringify!($name), || async {
                    // Only a list of the tests has no server.
                    let server = server.unwrap();
                    $name(crate::server::Database::create(server).await).await;
                })
            }),*]
        }
    };
}
use trials;

/// Tests named after their functions, each with whatever servers it starts.
macro_rules! alone {
    ($($name:ident),* $(,)?) => {
        vec![$(crate::trial(stringify!($name), $name)),*]
    };
}
use alone;

fn trial<F>(name: &str, test: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = ()>,
{
    Trial::test(name, || {
        // One thread, so that a server started by a test belongs to the thread of the test.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::time::timeout(LIMIT, test())
                .await
                .map_err(|_| format!("no end within {} s", LIMIT.as_secs()))
        })?;
        Ok(())
    })
}
