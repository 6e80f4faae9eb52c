//! Complete swaps, by one leader or several.

use std::collections::BTreeSet;

use outrigger_control::{Phase, Slot};
use serde_json::json;

use crate::node::Node;
use crate::replica::Replica;
use crate::shop::{
    REVISIONS, SIDECAR, empty_shop, events, images, is_updated, order, patches, preflights, says,
    set_image, shop, until_phase,
};

#[tokio::test]
async fn a_new_image_is_swapped_into_a_running_pod() {
    let api = shop(0);
    let _node = Node::start(&api, "127.0.7.1").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    let status = is_updated(&api, "sidecar:2").await;
    assert_eq!(status["currentRevision"]["digest"], "sha256:sidecar-2");
    assert_eq!(
        status["pods"],
        json!({"total": 1, "updated": 1, "jobCountsRestarts": 0})
    );
    assert_eq!(status["applications"], json!(["shop"]));
    let order = order(&api);
    assert_eq!(
        (order.phase, order.active, order.term),
        (Phase::Rest, Slot::B, 2)
    );
    assert_eq!(patches(&api), 6);
    for image in images(&api) {
        assert!(image.ends_with("@sha256:sidecar-2"), "{image}");
    }
    assert_ne!(images(&api)[0], images(&api)[1]);
    let told = [
        "HandoverStarted",
        "HandoverSucceeded",
        "PreflightSucceeded",
        "SoakSucceeded",
        "StandbyStarted",
        "Succeeded",
        "SwapStarted",
        "SwapSucceeded",
    ];
    assert_eq!(events(&api), BTreeSet::from(told.map(str::to_owned)));
    assert_eq!(api.under(REVISIONS).len(), 2);
}

#[tokio::test]
async fn a_leader_that_dies_in_any_phase_is_followed_by_one_that_goes_on() {
    let api = shop(0);
    let _node = Node::start(&api, "127.0.7.2").await;
    let phases = [
        Phase::PatchStandby,
        Phase::Warm,
        Phase::Handover,
        Phase::Soak,
        Phase::PatchOld,
    ];
    let leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    drop(leader);
    for (round, phase) in phases.into_iter().enumerate() {
        let image = format!("sidecar:{}", round + 2);
        let leader = Replica::lead(api.client());
        set_image(&api, &image);
        until_phase(&api, phase).await;
        drop(leader);
        let _next = Replica::lead(api.client());
        is_updated(&api, &image).await;
        assert_eq!(patches(&api), 6 * (round + 1), "killed in {phase}");
        assert_eq!(order(&api).term, round as u64 + 2);
    }
}

#[tokio::test]
async fn setting_the_old_image_again_goes_back() {
    let api = shop(60);
    let _node = Node::start(&api, "127.0.7.3").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    set_image(&api, "sidecar:2");
    until_phase(&api, Phase::Soak).await;
    set_image(&api, "sidecar:1");
    is_updated(&api, "sidecar:1").await;
    until_phase(&api, Phase::Rest).await;
    assert_eq!(order(&api).active, Slot::A);
    assert!(images(&api)[1].ends_with("@sha256:sidecar-1"));
}

#[tokio::test]
async fn the_first_image_is_tried_before_there_is_any_pod() {
    let api = empty_shop(0);
    let _node = Node::start(&api, "127.0.7.4").await;
    let _leader = Replica::lead(api.client());
    let status = says(&api, "Succeeded").await;
    assert_eq!(status["currentRevision"]["digest"], "sha256:sidecar-1");
    // It is deleted when it has told the digest.
    api.until(SIDECAR, |_| preflights(&api) == 0).await;
}
