//! The webhook configuration, kept by the leader.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use outrigger_api_server::ApiServer;
use outrigger_webhook::{
    Certificates, ConfigurationSettings, FailurePolicy, keep_certificate, keep_configuration,
};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::serving::SECRET;

const CONFIGURATION: &str =
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/outrigger-injector";
const ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/outrigger";

struct Leader {
    api: ApiServer,
    namespaces: watch::Sender<Option<BTreeSet<String>>>,
    accepted: watch::Receiver<BTreeSet<String>>,
    _stop: tokio_util::sync::DropGuard,
}

impl Leader {
    fn start(api: ApiServer) -> Leader {
        let stop = CancellationToken::new();
        let certificates = Certificates::new();
        let (namespaces, wanted) = watch::channel(None);
        let (sender, accepted) = watch::channel(BTreeSet::new());
        {
            let (certificates, client, stop) =
                (Arc::clone(&certificates), api.client(), stop.clone());
            tokio::spawn(async move {
                certificates.follow(client, "outrigger-system", stop).await;
            });
        }
        {
            let (certificates, client, stop) =
                (Arc::clone(&certificates), api.client(), stop.clone());
            tokio::spawn(async move {
                let (namespace, service) = ("outrigger-system", "outrigger");
                let clock = Timestamp::now;
                keep_certificate(client, &certificates, namespace, service, clock, stop).await;
            });
        }
        {
            let (client, stop) = (api.client(), stop.clone());
            tokio::spawn(async move {
                let settings = ConfigurationSettings {
                    namespace: "outrigger-system".into(),
                    service: "outrigger".into(),
                    cluster_role: "outrigger".into(),
                    failure_policy: FailurePolicy::Fail,
                };
                keep_configuration(client, &settings, &certificates, wanted, sender, stop).await;
            });
        }
        Leader {
            api,
            namespaces,
            accepted,
            _stop: stop.drop_guard(),
        }
    }

    fn cover(&self, namespaces: &[&str]) {
        let all = namespaces.iter().map(|name| (*name).to_owned()).collect();
        self.namespaces.send_replace(Some(all));
    }

    async fn accepted(&mut self, namespaces: &[&str]) {
        let wanted: BTreeSet<_> = namespaces.iter().map(|name| (*name).to_owned()).collect();
        self.accepted
            .wait_for(|found| *found == wanted)
            .await
            .unwrap();
    }
}

fn api() -> ApiServer {
    let api = ApiServer::default();
    api.put(ROLE, json!({"metadata": {"name": "outrigger"}}));
    api
}

fn selected(configuration: Option<&Value>) -> Value {
    configuration.map_or(Value::Null, |found| {
        found["webhooks"][0]["namespaceSelector"]["matchExpressions"][0]["values"].clone()
    })
}

#[tokio::test]
async fn the_configuration_covers_the_namespaces_and_belongs_to_the_cluster_role() {
    let mut leader = Leader::start(api());
    leader.cover(&["store", "kube-system", "outrigger-system", "bank"]);
    leader.accepted(&["bank", "store"]).await;
    let found = leader.api.get(CONFIGURATION).unwrap();
    let authorities = &leader.api.get(SECRET).unwrap()["data"]["ca.crt"];
    assert_eq!(
        found["webhooks"],
        json!([{
            "name": "pods.outrigger.dev",
            "admissionReviewVersions": ["v1"],
            "clientConfig": {
                "caBundle": authorities,
                "service": {
                    "namespace": "outrigger-system",
                    "name": "outrigger",
                    "path": "/inject",
                    "port": 443,
                },
            },
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "namespaceSelector": {"matchExpressions": [{
                "key": "kubernetes.io/metadata.name",
                "operator": "In",
                "values": ["bank", "store"],
            }]},
            "objectSelector": {"matchExpressions": [{
                "key": "outrigger.dev/preflight",
                "operator": "DoesNotExist",
            }]},
            "failurePolicy": "Fail",
            "matchPolicy": "Equivalent",
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": "None",
            "timeoutSeconds": 5,
        }])
    );
    assert_eq!(
        found["metadata"]["ownerReferences"],
        json!([{
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "name": "outrigger",
            "uid": leader.api.get(ROLE).unwrap()["metadata"]["uid"],
        }])
    );
}

#[tokio::test]
async fn namespaces_come_and_go_and_with_the_last_one_the_configuration() {
    let mut leader = Leader::start(api());
    leader.cover(&["store"]);
    leader.accepted(&["store"]).await;
    leader.cover(&["store", "bank"]);
    leader.accepted(&["bank", "store"]).await;
    leader.cover(&[]);
    leader.accepted(&[]).await;
    assert_eq!(leader.api.get(CONFIGURATION), None);
}

#[tokio::test]
async fn a_new_leader_keeps_what_is_there_until_it_knows_the_namespaces() {
    let api = api();
    let mut former = Leader::start(api.clone());
    former.cover(&["store"]);
    former.accepted(&["store"]).await;
    drop(former);
    let before = api.get(CONFIGURATION);
    let mut leader = Leader::start(api.clone());
    leader.accepted(&["store"]).await;
    leader.cover(&["store"]);
    leader.cover(&["store", "bank"]);
    leader.accepted(&["bank", "store"]).await;
    let writes = api.writes();
    let configuration = |write: &&String| write.contains("mutatingwebhookconfigurations");
    assert_eq!(writes.iter().filter(configuration).count(), 2, "{writes:?}");
    assert!(before.is_some());
}

#[tokio::test]
async fn an_edit_is_undone_and_a_deletion_too() {
    let mut leader = Leader::start(api());
    leader.cover(&["store"]);
    leader.accepted(&["store"]).await;
    let mut edited = leader.api.get(CONFIGURATION).unwrap();
    let good = edited["webhooks"].clone();
    edited["webhooks"][0]["failurePolicy"] = "Ignore".into();
    edited["webhooks"][0]["matchConditions"] = json!([{"name": "never", "expression": "false"}]);
    leader.api.put(CONFIGURATION, edited);
    let restored = |found: Option<&Value>| found.is_some_and(|found| found["webhooks"] == good);
    leader.api.until(CONFIGURATION, restored).await;
    leader.api.delete(CONFIGURATION);
    leader.api.until(CONFIGURATION, restored).await;
    leader.accepted(&["store"]).await;
}

#[tokio::test]
async fn a_failed_write_is_repeated_and_nothing_is_called_covered_before() {
    let api = api();
    let mut leader = Leader::start(api.clone());
    api.until(SECRET, |found| found.is_some()).await;
    api.fail(1);
    leader.cover(&["store"]);
    leader.accepted(&["store"]).await;
    assert_eq!(selected(api.get(CONFIGURATION).as_ref()), json!(["store"]));
    let failed = api.writes();
    assert!(failed.len() >= 3, "{failed:?}");
}

#[tokio::test]
async fn new_authorities_reach_the_configuration() {
    let mut leader = Leader::start(api());
    leader.cover(&["store"]);
    leader.accepted(&["store"]).await;
    leader.api.delete(SECRET);
    leader.api.until(SECRET, |found| found.is_some()).await;
    let authorities = leader.api.get(SECRET).unwrap()["data"]["ca.crt"].clone();
    let renewed = |found: Option<&Value>| {
        found.is_some_and(|found| found["webhooks"][0]["clientConfig"]["caBundle"] == authorities)
    };
    leader.api.until(CONFIGURATION, renewed).await;
}
