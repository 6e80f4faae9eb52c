//! What a client sees through the layer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use futures::{FutureExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use outrigger_api_server::ApiServer;
use outrigger_faults::{Fault, Faults, Plan, Verb};
use serde_json::json;

const PATH: &str = "/api/v1/namespaces/store/configmaps/";

fn server(names: &[&str]) -> ApiServer {
    let api = ApiServer::default();
    for name in names {
        put(&api, name);
    }
    api
}

fn put(api: &ApiServer, name: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
    api.put(&format!("{PATH}{name}"), object);
}

fn client(api: &ApiServer, faults: &Faults) -> Api<ConfigMap> {
    Api::namespaced(faults.before(api.client()), "store")
}

fn single(fault: Fault) -> Faults {
    Faults::new(Plan {
        single: vec![(0, fault)],
        ..Plan::default()
    })
}

async fn change(config_maps: &Api<ConfigMap>) -> Result<ConfigMap, kube::Error> {
    let patch = Patch::Merge(json!({"data": {"key": "value"}}));
    config_maps
        .patch("a", &PatchParams::default(), &patch)
        .await
}

#[tokio::test]
async fn a_fault_before_leaves_everything_and_one_after_does_not() {
    for (fault, is_written) in [
        (Fault::Before, false),
        (Fault::Conflict, false),
        (Fault::TooManyRequests, false),
        (Fault::Unavailable, false),
        (Fault::After, true),
    ] {
        let (api, faults) = (server(&["a"]), single(fault));
        let config_maps = client(&api, &faults);
        assert!(change(&config_maps).await.is_err(), "{fault:?}");
        let found = api.get(&format!("{PATH}a")).unwrap();
        assert_eq!(found["data"]["key"] == "value", is_written, "{fault:?}");
        assert_eq!(faults.calls()[0].succeeded(), is_written, "{fault:?}");
        assert!(change(&config_maps).await.is_ok(), "{fault:?}");
    }
}

#[tokio::test]
async fn after_a_crash_nothing_is_sent_and_nothing_answers() {
    let (api, faults) = (server(&["a"]), Faults::new(Plan::crash_after(1)));
    let config_maps = client(&api, &faults);
    change(&config_maps).await.unwrap();
    config_maps.get("a").await.unwrap();
    assert!(faults.crashed().now_or_never().is_none());
    let dead = tokio::spawn({
        let config_maps = config_maps.clone();
        async move { config_maps.delete("a", &Default::default()).await.is_ok() }
    });
    faults.crashed().await;
    let dead_read = tokio::spawn(async move { config_maps.get("a").await.is_ok() });
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(!dead.is_finished() && !dead_read.is_finished());
    assert!(api.get(&format!("{PATH}a")).is_some());
    let verbs: Vec<_> = faults.calls().iter().map(|call| call.verb).collect();
    assert_eq!(verbs, [Verb::Patch, Verb::Get]);
}

#[tokio::test]
async fn a_stale_list_is_the_one_before() {
    let api = server(&["a"]);
    let faults = Faults::new(Plan {
        single: vec![(1, Fault::StaleList)],
        ..Plan::default()
    });
    let config_maps = client(&api, &faults);
    let names = async || -> Vec<String> {
        let list = config_maps.list(&Default::default()).await.unwrap();
        list.items.iter().map(ResourceExt::name_any).collect()
    };
    assert_eq!(names().await, ["a"]);
    put(&api, "b");
    assert_eq!(names().await, ["a"]);
    assert_eq!(names().await, ["a", "b"]);
}

#[tokio::test]
async fn a_watch_ends_with_or_without_a_word() {
    for (fault, codes) in [
        (Fault::WatchClosed(1), vec![]),
        (Fault::WatchGone(1), vec![410]),
    ] {
        let (api, faults) = (server(&["a", "b", "c"]), single(fault));
        let watched = client(&api, &faults)
            .watch(&WatchParams::default(), "0")
            .await
            .unwrap();
        let events: Vec<_> = watched.try_collect().await.unwrap();
        assert!(matches!(&events[0], WatchEvent::Added(found) if found.name_any() == "a"));
        let errors = events[1..].iter().map(|event| match event {
            WatchEvent::Error(status) => status.code,
            other => panic!("{other:?}"),
        });
        assert_eq!(errors.collect::<Vec<_>>(), codes);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watcher_loses_nothing_in_a_storm() {
    for seed in 0..20 {
        let (api, faults) = (server(&[]), Faults::new(Plan::storm(seed)));
        let watched = watcher::watcher(client(&api, &faults), watcher::Config::default());
        let (reader, writer) = kube::runtime::reflector::store();
        let reflected = watched
            .default_backoff()
            .reflect(writer)
            .filter_map(async |event| event.ok());
        let mut reflected = std::pin::pin!(reflected);
        for number in 0..20 {
            put(&api, &number.to_string());
            while reader.len() <= number {
                reflected.next().await.unwrap();
            }
        }
    }
}
