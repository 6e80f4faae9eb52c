//! A replica of the operator that leads, for all tests that have an API server in memory.

use std::collections::BTreeSet;

use kube::Client;
use outrigger_controllers::{HdfsAccess, Metrics, Setup, run};
use outrigger_injection::Settings;
use outrigger_lookup::Lookup;
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Where the API server is said to be.
const API_SERVER: &str = "10.96.0.1";

/// Leads until the token is cancelled. The sender says which namespaces the webhook covers, and has
/// to be kept: `store` at first.
pub(crate) fn lead(client: Client, stop: &CancellationToken) -> watch::Sender<BTreeSet<String>> {
    let (lookup, reflectors) = Lookup::new(client.clone());
    tokio::spawn(reflectors.run(stop.clone()));
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
    tokio::spawn(run(setup, stop.clone()));
    sender
}
