//! What is known of the cluster, from an API server in memory.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::ResourceExt;
use outrigger_api_server::ApiServer;
use outrigger_lookup::Lookup;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

struct Replica {
    api: ApiServer,
    lookup: Arc<Lookup>,
    _stop: DropGuard,
}

impl Replica {
    async fn start(api: ApiServer) -> Replica {
        let stop = CancellationToken::new();
        let (lookup, reflectors) = Lookup::new(api.client());
        tokio::spawn(reflectors.run(stop.clone()));
        assert!(lookup.synced().await);
        Replica {
            api,
            lookup,
            _stop: stop.drop_guard(),
        }
    }

    async fn namespaces(&self, wanted: &[&str]) {
        let wanted: BTreeSet<_> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let mut namespaces = self.lookup.namespaces();
        let matches = |found: &Option<BTreeSet<String>>| found.as_ref() == Some(&wanted);
        namespaces.wait_for(matches).await.unwrap();
    }
}

fn path(namespace: &str, plural: &str, name: &str) -> String {
    format!("/apis/outrigger.dev/v1alpha1/namespaces/{namespace}/{plural}/{name}")
}

fn application() -> Value {
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegratedApp",
        "spec": {"selector": {"matchLabels": {"app": "shop"}}, "sidecars": [{"name": "orders"}]},
    })
}

fn sidecar(config_maps: &[&str]) -> Value {
    let sources = config_maps
        .iter()
        .map(|name| json!({"configMapRef": {"name": name}}));
    json!({
        "apiVersion": "outrigger.dev/v1alpha1",
        "kind": "IntegrationSidecar",
        "spec": {
            "image": "registry/sidecar:1",
            "functions": [{
                "name": "once", "idempotency": {}, "configFrom": sources.collect::<Vec<_>>(),
            }],
        },
    })
}

fn owner(kind: &str, name: &str, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: if kind == "Job" { "batch/v1" } else { "apps/v1" }.into(),
        kind: kind.into(),
        name: name.into(),
        uid: uid.into(),
        controller: Some(true),
        ..OwnerReference::default()
    }
}

#[tokio::test]
async fn applications_are_those_of_the_namespace() {
    let api = ApiServer::default();
    api.put(&path("store", "integratedapps", "shop"), application());
    api.put(&path("elsewhere", "integratedapps", "other"), application());
    let replica = Replica::start(api).await;
    let found = replica.lookup.applications().in_namespace("store");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name_any(), "shop");
    assert!(
        replica
            .lookup
            .applications()
            .in_namespace("none")
            .is_empty()
    );
}

#[tokio::test]
async fn namespaces_come_and_go_with_their_applications() {
    let replica = Replica::start(ApiServer::default()).await;
    replica.namespaces(&[]).await;
    let (shop, other) = (
        path("store", "integratedapps", "shop"),
        path("bank", "integratedapps", "other"),
    );
    replica.api.put(&shop, application());
    replica.api.put(&other, application());
    replica.namespaces(&["bank", "store"]).await;
    replica.api.delete(&shop);
    replica.namespaces(&["bank"]).await;
}

#[tokio::test]
async fn an_object_that_this_version_cannot_read_hides_no_other() {
    let api = ApiServer::default();
    let mut newer = application();
    newer["spec"]["sidecars"] = json!({"from": "the future"});
    api.put(&path("bank", "integratedapps", "newer"), newer);
    api.put(&path("store", "integratedapps", "shop"), application());
    let replica = Replica::start(api).await;
    replica.namespaces(&["store"]).await;
}

#[tokio::test]
async fn what_an_application_refers_to_is_read_and_what_does_not_exist_is_absent() {
    let api = ApiServer::default();
    api.put(&path("store", "integratedapps", "shop"), application());
    let orders = path("store", "integrationsidecars", "orders");
    api.put(&orders, sidecar(&["one", "missing"]));
    api.put(
        &path("elsewhere", "integrationsidecars", "bills"),
        sidecar(&[]),
    );
    api.put(
        "/api/v1/namespaces/store/configmaps/one",
        json!({"data": {"keyFields": "[\"/id\"]"}}),
    );
    let replica = Replica::start(api).await;
    let mut shop = replica.lookup.applications().get("store", "shop").unwrap();
    let found = replica.lookup.referenced("store", [&*shop]).await.unwrap();
    assert_eq!(found.sidecars.keys().collect::<Vec<_>>(), ["orders"]);
    assert_eq!(found.config_maps.keys().collect::<Vec<_>>(), ["one"]);
    assert_eq!(found.config_maps["one"]["keyFields"], "[\"/id\"]");
    Arc::make_mut(&mut shop).spec.sidecars[0].name = "bills".into();
    let found = replica.lookup.referenced("store", [&*shop]).await.unwrap();
    assert!(found.sidecars.is_empty(), "another namespace's");
}

#[tokio::test]
async fn what_applications_share_is_read_once() {
    let api = ApiServer::default();
    for name in ["shop", "batch"] {
        api.put(&path("store", "integratedapps", name), application());
    }
    let orders = path("store", "integrationsidecars", "orders");
    api.put(&orders, sidecar(&["one"]));
    let replica = Replica::start(api).await;
    let applications = replica.lookup.applications().in_namespace("store");
    assert_eq!(applications.len(), 2);
    let applications = applications.iter().map(AsRef::as_ref);
    let found = replica.lookup.referenced("store", applications);
    assert_eq!(found.await.unwrap().sidecars.len(), 1);
    assert_eq!(
        replica.api.reads(),
        ["/api/v1/namespaces/store/configmaps/one"]
    );
}

#[tokio::test]
async fn the_owner_of_a_replica_set_or_job_is_looked_up() {
    let api = ApiServer::default();
    for (path, kind, name) in [
        (
            "/apis/apps/v1/namespaces/store/replicasets/middle",
            "Deployment",
            "web",
        ),
        (
            "/apis/batch/v1/namespaces/store/jobs/middle",
            "CronJob",
            "nightly",
        ),
    ] {
        api.put(
            path,
            json!({"metadata": {"ownerReferences": [owner(kind, name, "u")]}}),
        );
    }
    let replica = Replica::start(api).await;
    for (kind, name, uid, expected) in [
        // A claim of another object's UID comes first, and must not be taken for that object.
        ("Job", "other", "uid-1", None),
        ("ReplicaSet", "middle", "another", None),
        ("ReplicaSet", "middle", "uid-1", Some("web")),
        ("Job", "middle", "uid-2", Some("nightly")),
        ("StatefulSet", "middle", "uid-1", None),
        ("ReplicaSet", "gone", "x", None),
    ] {
        let references = [owner(kind, name, uid)];
        let owners = replica.lookup.owners("store", &references).await.unwrap();
        let found = owners.indirect.map(|owner| owner.name);
        assert_eq!(found.as_deref(), expected, "{kind} {name} {uid}");
        assert_eq!(owners.direct.unwrap().kind, kind);
    }
}

#[tokio::test]
async fn quotas_and_limit_ranges_of_the_namespace_count() {
    let api = ApiServer::default();
    api.put(
        "/api/v1/namespaces/store/resourcequotas/q",
        json!({"spec": {"hard": {"limits.cpu": "5"}}}),
    );
    api.put(
        "/api/v1/namespaces/store/limitranges/l",
        json!({"spec": {"limits": [{"type": "Container", "min": {"memory": "64Mi"}}]}}),
    );
    let replica = Replica::start(api).await;
    let rules = replica.lookup.namespace_rules("store").await.unwrap();
    assert!(rules.cpu_limit_required);
    assert_eq!(rules.min["memory"].0, "64Mi");
    let elsewhere = replica.lookup.namespace_rules("elsewhere").await.unwrap();
    assert!(!elsewhere.cpu_limit_required);
}

#[tokio::test]
async fn changes_begin_with_what_is_known_and_tell_of_the_gone() {
    let api = ApiServer::default();
    let shop = path("store", "integratedapps", "shop");
    api.put(&shop, application());
    let replica = Replica::start(api).await;
    let mut changes = replica.lookup.applications().changes();
    assert_eq!(changes.next().await.unwrap().name_any(), "shop");
    let other = path("store", "integratedapps", "other");
    replica.api.put(&other, application());
    assert_eq!(changes.next().await.unwrap().name_any(), "other");
    replica.api.delete(&shop);
    assert_eq!(changes.next().await.unwrap().name_any(), "shop");
    assert!(replica.lookup.applications().get("store", "shop").is_none());
}

#[tokio::test]
async fn all_who_wait_for_the_first_look_are_woken() {
    let api = ApiServer::default();
    let (lookup, reflectors) = Lookup::new(api.client());
    let waiting: Vec<_> = (0..3)
        .map(|_| {
            let lookup = Arc::clone(&lookup);
            tokio::spawn(async move { lookup.synced().await })
        })
        .collect();
    // All of them wait before there is anything to see.
    tokio::task::yield_now().await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(reflectors.run(stop));
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
}
