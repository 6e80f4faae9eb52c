//! What lists and watches are answered.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::runtime::{reflector, watcher};
use kube::{Api, ResourceExt};
use outrigger_api_server::ApiServer;
use serde_json::json;
use tokio::time::timeout;

const PATH: &str = "/api/v1/namespaces/store/configmaps/";
/// More than a new list of all objects is told in.
const MOST_EVENTS: usize = 100;
/// Within this time a watcher hears of a change, or of what keeps it from hearing.
const SILENCE: Duration = Duration::from_secs(60);

fn put(api: &ApiServer, name: &str, value: &str) {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"key": value}});
    api.put(&format!("{PATH}{name}"), object);
}

fn config_maps(api: &ApiServer) -> Api<ConfigMap> {
    Api::namespaced(api.client(), "store")
}

fn version(api: &ApiServer, name: &str) -> String {
    let found = api.get(&format!("{PATH}{name}")).unwrap();
    let version = &found["metadata"]["resourceVersion"];
    version.as_str().unwrap().to_owned()
}

/// The events of a watch until its end: type, and name or version or code.
async fn watched(api: &ApiServer, params: &WatchParams, from: &str) -> Vec<(&'static str, String)> {
    let events = config_maps(api).watch(params, from).await.unwrap();
    let told = events.map_ok(|event| match event {
        WatchEvent::Added(found) => ("ADDED", found.name_any()),
        WatchEvent::Modified(found) => ("MODIFIED", found.name_any()),
        WatchEvent::Deleted(found) => ("DELETED", found.name_any()),
        WatchEvent::Bookmark(found) => ("BOOKMARK", found.metadata.resource_version),
        WatchEvent::Error(status) => ("ERROR", format!("{} {}", status.code, status.reason)),
    });
    told.try_collect().await.unwrap()
}

fn failed(error: kube::Error) -> (u16, String) {
    match error {
        kube::Error::Api(status) => (status.code, status.reason.clone()),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_each_minute_and_before_the_end_to_who_asks() {
    let api = ApiServer::default();
    put(&api, "a", "1");
    let from = version(&api, "a");
    let asking = WatchParams::default().timeout(150);
    let elsewhere = "/api/v1/namespaces/bank/configmaps/b";
    let (events, ()) = tokio::join!(watched(&api, &asking, &from), async {
        // The watch has begun by then.
        tokio::time::sleep(Duration::from_secs(70)).await;
        api.put(elsewhere, json!({}));
        api.put("/api/v1/namespaces/store/pods/web", json!({}));
    });
    let news = api.get(elsewhere).unwrap();
    let news = news["metadata"]["resourceVersion"].as_str().unwrap();
    // Those after 120 and 148 s; that after 60 s would have told nothing.
    assert_eq!(events, vec![("BOOKMARK", news.to_owned()); 2]);
    let silent = WatchParams::default().timeout(150).disable_bookmarks();
    assert_eq!(watched(&api, &silent, &from).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_no_version_begins_with_what_there_is() {
    let api = ApiServer::default();
    for (name, value) in [("a", "1"), ("b", "1"), ("a", "2")] {
        put(&api, name, value);
    }
    api.delete(&format!("{PATH}b"));
    let params = WatchParams::default().timeout(1);
    let all = [("ADDED", "a".to_owned())];
    assert_eq!(watched(&api, &params, "0").await, all);
    api.forget();
    assert_eq!(watched(&api, &params, "0").await, all);
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_a_version_that_is_forgotten_is_told_410() {
    let api = ApiServer::default();
    let params = WatchParams::default().timeout(1);
    put(&api, "a", "1");
    let early = version(&api, "a");
    put(&api, "a", "2");
    let late = version(&api, "a");
    let gone = [("ERROR", "410 Expired".to_owned())];
    assert_eq!(watched(&api, &params, "1").await, gone);
    let changed = [("MODIFIED", "a".to_owned())];
    assert_eq!(watched(&api, &params, &early).await, changed);
    api.forget();
    assert_eq!(watched(&api, &params, &early).await, gone);
    assert_eq!(watched(&api, &params, &late).await, []);
}

#[tokio::test]
async fn pages_show_the_same_state_until_it_is_forgotten() {
    let api = ApiServer::default();
    for name in ["a", "b", "c", "d", "e"] {
        put(&api, name, "1");
    }
    let config_maps = config_maps(&api);
    let params = ListParams::default().limit(2);
    let first = config_maps.list(&params).await.unwrap();
    put(&api, "bb", "1");
    api.delete(&format!("{PATH}d"));
    let next = |token: Option<String>| params.clone().continue_token(&token.unwrap());
    let second = next(first.metadata.continue_.clone());
    let second = config_maps.list(&second).await.unwrap();
    let token = second.metadata.continue_.clone();
    let third = config_maps.list(&next(token.clone())).await.unwrap();
    let pages = [&first, &second, &third].map(|page| {
        let names: Vec<_> = page.iter().map(ResourceExt::name_any).collect();
        (names.join(" "), page.metadata.remaining_item_count)
    });
    let expected = [("a b", Some(3)), ("c d", Some(1)), ("e", None)];
    assert_eq!(
        pages,
        expected.map(|(names, left)| (names.to_owned(), left))
    );
    assert_eq!(
        first.metadata.resource_version,
        third.metadata.resource_version
    );
    assert_eq!(third.metadata.continue_, None);
    api.forget();
    let gone = config_maps.list(&next(token)).await.unwrap_err();
    assert_eq!(failed(gone), (410, "Expired".to_owned()));
    let broken = config_maps
        .list(&next(Some("x".to_owned())))
        .await
        .unwrap_err();
    assert_eq!(failed(broken), (400, "BadRequest".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_watcher_with_small_pages_loses_nothing_when_all_is_forgotten() {
    let api = ApiServer::default();
    let (reader, writer) = reflector::store();
    let config = watcher::Config::default().page_size(2);
    let watched = watcher::watcher(config_maps(&api), config);
    let reflected = reflector::reflector(writer, watched);
    let mut reflected = std::pin::pin!(reflected);
    for number in 0..20 {
        put(&api, &number.to_string(), "1");
        api.forget();
        // What fails is tried again.
        for _ in 0..MOST_EVENTS {
            if reader.len() > number {
                break;
            }
            let event = timeout(SILENCE, reflected.next()).await;
            assert!(event.is_ok(), "object {number} is lost");
        }
        assert_eq!(reader.len(), number + 1);
    }
}
