//! New configuration for pods that run.

use outrigger_control::Phase;
use serde_json::json;

use crate::node::{Fault, Node};
use crate::replica::Replica;
use crate::shop::{edit, images, is_updated, order, patches, says, shop};

#[tokio::test]
async fn new_parameters_are_an_order_of_the_same_term() {
    let api = shop(0);
    let _node = Node::start(&api, "127.0.7.7").await;
    let _leader = Replica::lead(api.client());
    is_updated(&api, "sidecar:1").await;
    let before = order(&api);
    edit(&api, |spec| {
        spec["functions"][0]["idempotency"]["keyFields"] = json!(["/key"])
    });
    let given =
        |pod: Option<&serde_json::Value>| pod.is_some() && order(&api).config != before.config;
    api.until(crate::shop::POD, given).await;
    let after = order(&api);
    assert_eq!((after.term, after.phase), (before.term, Phase::Rest));
    assert_eq!(after.config.a, after.config.b);
    assert_eq!(patches(&api), 1);
    assert_eq!(images(&api), ["sidecar:1", "sidecar:1"]);
}

#[tokio::test]
async fn a_refused_configuration_is_told_with_the_pod_and_the_reason() {
    let api = shop(0);
    let node = Node::start(&api, "127.0.7.8").await;
    node.spoil("sidecar:1", Fault::Refuses);
    let _leader = Replica::lead(api.client());
    let status = says(&api, "ConfigurationRefused").await;
    let message = status["conditions"][0]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "pod web: slot a refuses its configuration and goes on with the last good one: no"
    );
    assert_eq!(status["conditions"][1]["type"], "Stalled");
    node.mend();
    edit(&api, |spec| {
        spec["functions"][0]["idempotency"]["keyFields"] = json!(["/key"])
    });
    is_updated(&api, "sidecar:1").await;
}
