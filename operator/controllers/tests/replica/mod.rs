//! A replica of the operator that leads, for all tests that have an API server in memory.

#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeSet;

use kube::Client;
use outrigger_controllers::{HdfsAccess, Metrics, Setup, run};
use outrigger_injection::Settings;
use outrigger_lookup::Lookup;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Where the API server is said to be.
const API_SERVER: &str = "10.96.0.1";

/// A replica that leads, until it is dropped.
pub(crate) struct Replica {
    /// Which namespaces the webhook covers: `store` at first.
    pub(crate) covered: watch::Sender<BTreeSet<String>>,
    _stop: DropGuard,
    tasks: [JoinHandle<()>; 2],
}

impl Replica {
    pub(crate) fn lead(client: Client) -> Replica {
        let stop = CancellationToken::new();
        let (lookup, reflectors) = Lookup::new(client.clone());
        let (sender, covered) = watch::channel(BTreeSet::from(["store".to_owned()]));
        let setup = Setup {
            client,
            lookup,
            settings: Settings::default(),
            holder_image: "operator:1".into(),
            covered,
            hdfs: HdfsAccess {
                api_server: vec![API_SERVER.to_owned()],
                // The NameNodes of the tests are here.
                allowed: vec!["127.0.0.0/8".parse().unwrap()],
            },
            instance: "outrigger-0".into(),
            metrics: Metrics::register(&mut Registry::default()),
        };
        Replica {
            covered: sender,
            tasks: [
                tokio::spawn(reflectors.run(stop.clone())),
                tokio::spawn(run(setup, stop.clone())),
            ],
            _stop: stop.drop_guard(),
        }
    }

    /// Ends without another call, like a process that is killed.
    pub(crate) fn kill(self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
