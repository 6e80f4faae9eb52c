//! Images that cannot be used.

use outrigger_control::{Phase, Slot};
use serde_json::json;

use crate::node::{Fault, Node};
use crate::replica::Replica;
use crate::shop::{
    REVISIONS, edit, events, images, is_updated, order, patches, says, set_image, shop, until_phase,
};

#[tokio::test]
async fn an_image_that_does_not_exist_touches_no_pod() {
    let api = shop(0);
    let node = Node::start(&api, "127.0.7.5").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    node.spoil("sidecar:9", Fault::Missing);
    set_image(&api, "sidecar:9");
    let status = says(&api, "PreflightFailed").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("image sidecar:9 in pod orders-preflight-"),
        "{message}"
    );
    assert!(
        message.contains(" on node-0: ErrImagePull: not found; no application pod"),
        "{message}"
    );
    assert_eq!(status["conditions"][1]["type"], "Stalled");
    assert_eq!(status["currentRevision"]["image"], "sidecar:1");
    assert_eq!(patches(&api), 0);
    assert_eq!(images(&api), ["sidecar:1", "sidecar:1"]);
    set_image(&api, "sidecar:1");
    is_updated(&api, "sidecar:1").await;
}

#[tokio::test]
async fn a_preflight_that_cannot_be_created_holds_up_no_swap_that_has_begun() {
    let api = shop(0);
    let _node = Node::start(&api, "127.0.7.21").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    until_phase(&api, Phase::Warm).await;
    edit(&api, |spec| {
        spec["image"] = "sidecar:3".into();
        spec["resources"] = json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}});
    });
    until_phase(&api, Phase::Rest).await;
    let order = order(&api);
    assert_eq!(order.revision.a, order.revision.b);
    says(&api, "PreflightFailed").await;
}

#[tokio::test]
async fn an_image_that_crashes_while_it_serves_is_taken_back() {
    let api = shop(60);
    let node = Node::start(&api, "127.0.7.6").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    until_phase(&api, Phase::Soak).await;
    node.spoil("sidecar:2", Fault::Crashes);
    let status = says(&api, "RevisionFailed").await;
    node.mend();
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert!(
        message.starts_with("pod web: the worker in container orders-b ended 1 times"),
        "{message}"
    );
    until_phase(&api, Phase::Rest).await;
    let order = order(&api);
    assert_eq!(order.active, Slot::A);
    assert!(order.term >= 3);
    assert!(images(&api)[1].ends_with("@sha256:sidecar-1"));
    let revisions = api.under(REVISIONS);
    let failed = revisions
        .iter()
        .filter(|revision| !revision["metadata"]["annotations"]["outrigger.dev/failed"].is_null());
    let failed: Vec<_> = failed.map(|revision| &revision["data"]["image"]).collect();
    assert_eq!(failed, ["sidecar:2"]);
    assert!(events(&api).contains("RevisionFailed"));
    assert!(events(&api).contains("HandedBack"));
}
