use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use outrigger_api::conditions::reason;
use outrigger_api::{AvoidedNode, PlacedPod, PlacementStatus, WaitingPod};
use outrigger_placement::{Data, DataState, Located, Part, Split, Waiting};
use serde_json::{Value, json};

use super::fixtures::{pod, shop};
use crate::application::placement::FoundPlacement;
use crate::application::read::Found;
use crate::placement::Standing;

const AT: Timestamp = Timestamp::constant(1_000, 0);

/// 100 bytes on `n1` and 50 on `n2`.
fn market() -> Data {
    let on = |node: &str| BTreeSet::from([node.to_owned()]);
    let part = Part {
        name: "/market".into(),
        bytes: 150,
        groups: BTreeMap::from([(on("n1"), 100), (on("n2"), 50)]),
    };
    Data {
        dataset: "market".into(),
        weight: 1,
        split: Split::All,
        state: DataState::Located {
            located: Arc::new(Located { parts: vec![part] }),
            as_of: AT,
        },
    }
}

/// Application `shop` without sidecars, that reads `market`.
fn reader() -> Found {
    let mut found = shop();
    found.edit(|application| {
        application.spec.sidecars.clear();
        application.spec.data =
            Some(serde_json::from_value(json!([{"dataset": "market"}])).unwrap());
    });
    found.placement = Some(FoundPlacement {
        data: vec![market()],
        missing: Vec::new(),
        tied: BTreeMap::new(),
        standing: Some(Standing::default()),
    });
    found
}

/// Adds a pod on a node, with what it was let go with.
fn add(found: &mut Found, name: &str, node: &str, explanation: Option<Value>) {
    let mut pod = pod(name);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert("outrigger.dev/app".into(), "shop".into());
    if let Some(explanation) = explanation {
        let annotations = pod.metadata.annotations.get_or_insert_default();
        annotations.insert("outrigger.dev/placement".into(), explanation.to_string());
    }
    pod.spec.get_or_insert_default().node_name = Some(node.into());
    found.add(pod);
}

fn explanation(node: &str, local: u64) -> Value {
    json!({
        "v": 1, "node": node, "mode": "Preferred", "localBytes": local, "totalBytes": 150,
        "runnerUp": {"node": "n2", "localBytes": 50},
        "reason": "n1 was best", "since": "2026-01-01T00:00:00Z",
    })
}

fn status(found: &Found) -> PlacementStatus {
    found.decide().placement.unwrap()
}

#[test]
fn an_application_without_data_says_nothing_of_places() {
    assert_eq!(shop().decide().placement, None);
}

#[test]
fn a_pod_is_told_with_what_its_node_holds_and_the_next_choice() {
    let mut found = reader();
    add(&mut found, "a", "n1", Some(explanation("n1", 100)));
    assert_eq!(
        status(&found).pods,
        [PlacedPod {
            pod: "a".into(),
            node: "n1".into(),
            local_bytes: 100,
            total_bytes: 150,
            runner_up: Some("n2".into()),
            runner_up_bytes: Some(50),
            reason: "n1 was best".into(),
        }]
    );
    assert_eq!(status(&found).local.as_deref(), Some("67 %"));
}

#[test]
fn a_pod_that_its_claim_leaves_one_node_is_told_with_that_claim() {
    let mut found = reader();
    add(&mut found, "a", "n1", None);
    let placement = found.placement.as_mut().unwrap();
    placement.tied.insert("a".into(), "data-a".into());
    assert_eq!(
        status(&found).pods[0].reason,
        "its claim data-a is on n1, so it can run there only: n1 holds 100 B of its 150 B (67 %)"
    );
}

#[test]
fn data_that_moved_since_are_told_as_they_are_now() {
    let mut found = reader();
    add(&mut found, "a", "n1", Some(explanation("n1", 150)));
    let pod = &status(&found).pods[0];
    assert_eq!(pod.local_bytes, 100);
    assert_eq!(
        pod.reason,
        "now n1 holds 100 B of its 150 B (67 %); when it was placed: n1 was best"
    );
}

#[test]
fn the_list_is_bounded_and_the_sums_are_not() {
    let mut found = reader();
    for number in (0..70).rev() {
        add(&mut found, &format!("pod-{number:02}"), "n2", None);
    }
    let status = status(&found);
    assert_eq!(status.pods.len(), 64);
    assert!(status.pods.is_sorted_by_key(|pod| pod.pod.clone()));
    assert_eq!(
        (status.local_bytes, status.total_bytes),
        (70 * 50, 70 * 150)
    );
}

#[test]
fn what_a_new_leader_does_not_know_yet_stands_as_it_was_said() {
    let mut found = reader();
    add(&mut found, "a", "n1", Some(explanation("n1", 100)));
    let said = PlacementStatus {
        waiting: vec![WaitingPod {
            pod: "gone".into(),
            reason: "for long".into(),
        }],
        avoided: vec![AvoidedNode {
            node: "n3".into(),
            reason: "full".into(),
            since: None,
        }],
        ..status(&found)
    };
    found.edit(|application| {
        application.status.get_or_insert_default().placement = Some(said.clone());
    });
    let placement = found.placement.as_mut().unwrap();
    placement.standing = None;
    placement.data[0].state = DataState::NotScannedYet { since: AT };
    let now = status(&found);
    assert_eq!(now.pods, said.pods);
    assert_eq!(now.avoided, said.avoided);
    assert_eq!(now.waiting, [], "a pod that is gone waits no more");
}

#[test]
fn what_stands_in_the_way_of_sidecars_comes_before_what_stands_in_that_of_places() {
    let waiting = Waiting {
        pod: "a".into(),
        uid: "uid-a".into(),
        gated: true,
        reason: "no node".into(),
        until: Some(AT),
    };
    let mut found = reader();
    let standing = |found: &mut Found, standing: Standing| {
        found.placement.as_mut().unwrap().standing = Some(standing);
    };
    let mut told = Standing {
        waiting: vec![waiting],
        ..Standing::default()
    };
    standing(&mut found, told.clone());
    assert_eq!(found.told().0, reason::PLACEMENT_PENDING);
    told.conflicts = vec![("a".into(), "this and that".into())];
    standing(&mut found, told);
    assert_eq!(
        found.told(),
        (
            reason::PLACEMENT_CONFLICT,
            "no node can run pod a: this and that".into()
        )
    );
    let placement = found.placement.as_mut().unwrap();
    placement.missing = vec!["market".into()];
    assert_eq!(found.told().0, reason::DATASET_NOT_FOUND);
    found.add(pod("bare"));
    assert_eq!(found.told().0, reason::PODS_NOT_INJECTED);
}
