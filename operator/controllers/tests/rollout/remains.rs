//! Objects that are deleted while others still need them, and those that they leave behind.

use std::time::Duration;

use outrigger_control::Phase;
use outrigger_plan::revision_name;
use serde_json::{Value, json};

use crate::node::Node;
use crate::replica::Replica;
use crate::shop::{
    APPLICATION, POD, REVISIONS, SIDECAR, empty_shop, images, is_updated, set_image, shop,
    until_phase,
};

const DOCUMENTS: &str = "/api/v1/namespaces/store/configmaps/outrigger.shop.orders";

#[tokio::test]
async fn a_swap_ends_without_its_application_and_documents_go_with_the_last_pod() {
    let api = shop(0);
    let _node = Node::start(&api, "127.0.7.20").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    until_phase(&api, Phase::Warm).await;
    api.delete(APPLICATION);
    until_phase(&api, Phase::Rest).await;
    for image in images(&api) {
        assert!(image.ends_with("@sha256:sidecar-2"), "{image}");
    }
    assert!(api.get(DOCUMENTS).is_some());
    api.delete(POD);
    api.until(DOCUMENTS, |found| found.is_none()).await;
}

/// The revision of the first image, as a former sidecar of the name left it.
fn leftover(labels: Value) -> (String, Value) {
    let name = revision_name("orders", "sidecar:1");
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {"labels": labels}, "data": {"image": "sidecar:1"}, "revision": 1,
    });
    (format!("{REVISIONS}{name}"), revision)
}

#[tokio::test]
async fn a_revision_that_a_former_namesake_left_behind_is_made_anew() {
    let api = empty_shop(0);
    let (path, revision) = leftover(json!({"app.kubernetes.io/managed-by": "outrigger"}));
    api.put(&path, revision);
    let _leader = Replica::lead(api.client());
    let uid = api.get(SIDECAR).unwrap()["metadata"]["uid"].clone();
    let is_owned = |found: Option<&Value>| {
        found.is_some_and(|found| found["metadata"]["ownerReferences"][0]["uid"] == uid)
    };
    api.until(&path, is_owned).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_always_in_the_way_is_met_ever_more_seldom() {
    let api = empty_shop(0);
    let (path, revision) = leftover(json!({}));
    api.put(&path, revision);
    let _leader = Replica::lead(api.client());
    tokio::time::sleep(Duration::from_secs(60)).await;
    let create = format!("POST {}", REVISIONS.trim_end_matches('/'));
    let tries = api.writes().iter().filter(|line| **line == create).count();
    assert!((2..100).contains(&tries), "{tries} tries in a minute");
}
