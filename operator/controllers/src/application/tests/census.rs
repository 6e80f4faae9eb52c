use outrigger_api::ApplicationPods;
use outrigger_control::layout::PREFLIGHT_LABEL;
use outrigger_injection::Settings;
use serde_json::json;

use super::fixtures::{application, pod, shop};
use crate::application::census::Census;
use crate::application::read::Found;

fn census(found: &Found) -> Census {
    Census::take(found, Some(&found.plan()), &Settings::default())
}

#[test]
fn pods_are_counted_by_whether_they_have_their_sidecars() {
    let mut found = shop();
    found.add_injected("a");
    found.add_injected("b");
    found.add(pod("c"));
    let mut ending = found.injected("d");
    ending.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-03T00:00:00Z")).unwrap();
    found.add(ending);
    let mut preflight = pod("e");
    let labels = preflight.metadata.labels.get_or_insert_default();
    labels.insert(PREFLIGHT_LABEL.into(), "orders-1".into());
    found.add(preflight);
    let mut others = pod("f");
    others.metadata.labels = None;
    found.add(others);
    let numbers = ApplicationPods {
        matched: 3,
        injected: 2,
        without_sidecars: 1,
    };
    assert_eq!(census(&found).numbers(), numbers);
}

#[test]
fn a_pod_of_a_deleted_application_has_no_sidecars_of_this_one() {
    let mut found = shop();
    let mut pod = found.injected("a");
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("outrigger.dev/app".into(), "deleted".into());
    found.add(pod);
    assert_eq!(census(&found).without_sidecars, ["a"]);
}

#[test]
fn a_pod_that_an_older_application_serves_is_not_counted_and_names_it() {
    let mut found = shop();
    found.add(pod("a"));
    found
        .applications
        .push(application("older", "2026-01-01T00:00:00Z", json!([])));
    let found = census(&found);
    assert_eq!(found.numbers(), ApplicationPods::default());
    assert_eq!(found.adopted_by_others, [("a".into(), "older".into())]);
}

#[test]
fn a_younger_application_changes_nothing_for_the_older_one() {
    let mut found = shop();
    found.add_injected("a");
    found
        .applications
        .push(application("younger", "2026-01-03T00:00:00Z", json!([])));
    let found = census(&found);
    assert_eq!(found.injected, ["a"]);
    assert!(found.adopted_by_others.is_empty());
}

#[test]
fn a_pod_whose_order_names_another_document_is_still_to_be_told() {
    let mut found = shop();
    found.add_injected("a");
    assert!(census(&found).pending.is_empty());
    found.edit(|application| {
        let parameters = json!([{"function": "orders", "idempotency": {"keyFields": ["/other"]}}]);
        application.spec.sidecars[0].parameters = serde_json::from_value(parameters).unwrap();
    });
    assert_eq!(census(&found).pending, ["a"]);
}
