//! What the injector asks of the cluster, by calls.

use futures::stream;
use kube::runtime::{WatchStreamExt, reflector, watcher};
use outrigger_plan::Referenced;
use outrigger_webhook::{Applications, Lookup};
use serde_json::{Value, json};

use crate::api_server::ApiServer;
use crate::store::application;

fn pod(kind: &str, name: &str, uid: &str) -> k8s_openapi::api::core::v1::Pod {
    let version = if kind == "Job" { "batch/v1" } else { "apps/v1" };
    serde_json::from_value(json!({"metadata": {"ownerReferences": [{
        "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": true,
    }]}}))
    .unwrap()
}

fn owned_by(kind: &str, name: &str) -> Value {
    json!({"metadata": {"name": "middle", "ownerReferences": [{
        "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": "u", "controller": true,
    }]}})
}

async fn lookup(api: &ApiServer) -> impl Applications {
    let (reader, writer) = reflector::store();
    let applications = vec![
        application("shop", "2026-01-01T00:00:00Z", json!({"selector": {}})),
        {
            let mut other = application("other", "2026-01-01T00:00:00Z", json!({"selector": {}}));
            other.metadata.namespace = Some("elsewhere".into());
            other
        },
    ];
    let events = stream::iter(
        std::iter::once(Ok::<_, watcher::Error>(watcher::Event::Init))
            .chain(
                applications
                    .into_iter()
                    .map(|found| Ok(watcher::Event::InitApply(found))),
            )
            .chain([Ok(watcher::Event::InitDone)]),
    );
    let filled = events.reflect(writer);
    futures::StreamExt::count(filled).await;
    Lookup::new(api.client(), reader, |_| async {
        Ok(Referenced::default())
    })
}

#[tokio::test]
async fn applications_are_those_of_the_namespace() {
    let lookup = lookup(&ApiServer::default()).await;
    let found = lookup.applications_in("store");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].metadata.name.as_deref(), Some("shop"));
    assert!(lookup.applications_in("none").is_empty());
}

#[tokio::test]
async fn the_owner_of_a_replica_set_or_job_is_looked_up() {
    let api = ApiServer::default();
    api.put(
        "/apis/apps/v1/namespaces/store/replicasets/middle",
        owned_by("Deployment", "web"),
    );
    api.put(
        "/apis/batch/v1/namespaces/store/jobs/middle",
        owned_by("CronJob", "nightly"),
    );
    let lookup = lookup(&api).await;
    for (kind, uid, expected) in [
        ("ReplicaSet", "uid-1", Some("web")),
        ("Job", "uid-2", Some("nightly")),
        ("ReplicaSet", "another", None),
        ("StatefulSet", "uid-1", None),
    ] {
        let owners = lookup
            .owners("store", &pod(kind, "middle", uid))
            .await
            .unwrap();
        let found = owners.indirect.map(|owner| owner.name);
        assert_eq!(found.as_deref(), expected, "{kind} {uid}");
        assert_eq!(owners.direct.unwrap().kind, kind);
    }
    let gone = lookup
        .owners("store", &pod("ReplicaSet", "gone", "x"))
        .await
        .unwrap();
    assert!(gone.indirect.is_none());
}

#[tokio::test]
async fn quotas_and_limit_ranges_of_the_namespace_count() {
    let api = ApiServer::default();
    api.put(
        "/api/v1/namespaces/store/resourcequotas/q",
        json!({"metadata": {"name": "q"}, "spec": {"hard": {"limits.cpu": "5"}}}),
    );
    api.put(
        "/api/v1/namespaces/store/limitranges/l",
        json!({"metadata": {"name": "l"}, "spec": {"limits": [
            {"type": "Container", "min": {"memory": "64Mi"}},
        ]}}),
    );
    let lookup = lookup(&api).await;
    let rules = lookup.namespace_rules("store").await.unwrap();
    assert!(rules.cpu_limit_required);
    assert_eq!(rules.min["memory"].0, "64Mi");
    let elsewhere = lookup.namespace_rules("elsewhere").await.unwrap();
    assert!(!elsewhere.cpu_limit_required);
}
