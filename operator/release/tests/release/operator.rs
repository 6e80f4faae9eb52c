//! The operator's own election and keeper, while a release is under way.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use outrigger_api_server::ApiServer;
use outrigger_release::{HOLD, HOLDER};
use outrigger_runtime::{ElectionMetrics, Elector, Timing};
use outrigger_webhook::{
    Certificates, ConfigurationSettings, FailurePolicy, keep_certificate, keep_configuration,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::cluster::{CONFIGURATION, Cluster, GATE, LEASE, ROLE};

const NAMESPACE: &str = "outrigger-system";

/// What a replica does that concerns the webhook, until `stop`.
async fn replica(api: ApiServer, name: &'static str, stop: CancellationToken) {
    let client = api.client();
    let certificates = Certificates::new();
    {
        let (certificates, client, stop) =
            (Arc::clone(&certificates), client.clone(), stop.clone());
        tokio::spawn(async move { certificates.follow(client, NAMESPACE, stop).await });
    }
    let work = |term: CancellationToken| {
        let (client, certificates) = (client.clone(), Arc::clone(&certificates));
        async move {
            let settings = ConfigurationSettings {
                namespace: NAMESPACE.into(),
                service: "outrigger".into(),
                cluster_role: "outrigger".into(),
                failure_policy: FailurePolicy::Fail,
            };
            let namespaces = BTreeSet::from(["shop".to_owned()]);
            let (_wanted, namespaces) = watch::channel(Some(namespaces));
            let (accepted, _) = watch::channel(BTreeSet::new());
            let (one, other) = (client.clone(), term.clone());
            let clock = Timestamp::now;
            tokio::join!(
                keep_certificate(one, &certificates, NAMESPACE, "outrigger", clock, other),
                keep_configuration(client, &settings, &certificates, namespaces, accepted, term),
            );
            Ok::<(), Infallible>(())
        }
    };
    let metrics = ElectionMetrics::default();
    let elector = Elector::new(api.client(), NAMESPACE, name, Timing::default(), metrics);
    elector.run(work, stop).await.unwrap();
}

fn holder(lease: Option<&Value>) -> &str {
    lease
        .and_then(|lease| lease["spec"]["holderIdentity"].as_str())
        .unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_running_operator_stays_away_until_the_hold_is_over_and_then_goes_on() {
    let cluster = Cluster::default();
    cluster
        .api
        .put(ROLE, json!({"metadata": {"name": "outrigger"}}));
    cluster.application("shop");
    cluster.pod("shop", "web", &[GATE]);
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    for name in ["outrigger-0", "outrigger-1"] {
        tokio::spawn(replica(cluster.api.clone(), name, stop.clone()));
    }
    let api = &cluster.api;
    api.until(CONFIGURATION, |found| found.is_some()).await;

    cluster.release().await.1.unwrap();
    let end = Instant::now();
    // A replica that starts only now stays away too.
    tokio::spawn(replica(api.clone(), "outrigger-2", stop.clone()));
    let before = api.writes().len();
    sleep(HOLD - Duration::from_secs(5)).await;
    assert_eq!(api.get(CONFIGURATION), None);
    assert_eq!(api.writes().len(), before, "{:?}", api.writes().last());

    // Nobody has removed it.
    api.until(CONFIGURATION, |found| found.is_some()).await;
    assert!(end.elapsed() >= HOLD - Duration::from_secs(1));
    assert!(holder(api.get(LEASE).as_ref()).starts_with("outrigger-"));
    assert_ne!(holder(api.get(LEASE).as_ref()), HOLDER);
}

#[tokio::test(start_paused = true)]
async fn an_operator_that_is_to_stay_leads_again_when_the_lease_is_given_up() {
    let cluster = Cluster::default();
    cluster
        .api
        .put(ROLE, json!({"metadata": {"name": "outrigger"}}));
    cluster.application("shop");
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    tokio::spawn(replica(cluster.api.clone(), "outrigger-0", stop.clone()));
    let api = &cluster.api;
    api.until(CONFIGURATION, |found| found.is_some()).await;
    cluster.release().await.1.unwrap();

    let begin = Instant::now();
    let mut lease = api.get(LEASE).unwrap();
    lease["spec"]["holderIdentity"] = "".into();
    api.put(LEASE, lease);
    api.until(CONFIGURATION, |found| found.is_some()).await;
    assert!(begin.elapsed() < Duration::from_secs(15));
}

/// The Lease goes with the ClusterRole when the chart is uninstalled.
#[tokio::test(start_paused = true)]
async fn an_operator_that_is_installed_again_leads_at_once() {
    let cluster = Cluster::new();
    cluster.release().await.1.unwrap();
    let api = &cluster.api;
    api.delete(ROLE);
    api.delete(LEASE);
    api.put(ROLE, json!({"metadata": {"name": "outrigger"}}));
    let begin = Instant::now();
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    tokio::spawn(replica(api.clone(), "outrigger-0", stop.clone()));
    api.until(CONFIGURATION, |found| found.is_some()).await;
    assert!(begin.elapsed() < Duration::from_secs(15));
}
