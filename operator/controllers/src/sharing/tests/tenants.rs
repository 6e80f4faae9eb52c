//! Who calls from where.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::sharing::consumers::{Consumer, consumers};
use crate::sharing::tenants::{MOST_BYTES, tenants};

/// A pod of an application with an address of the sidecar `orders` of namespace `store`.
fn pod(name: &str, application: &str, started: &str, mut status: Value) -> Pod {
    status["startTime"] = started.into();
    serde_json::from_value(json!({
        "metadata": {
            "name": name, "namespace": "store", "creationTimestamp": EARLY,
            "labels": {"outrigger.dev/app": application},
        },
        "spec": {"nodeName": "node-0", "containers": [{"name": "app", "env": [
            {"name": "OUTRIGGER_ONCE_URL", "value": "http://outrigger-orders.store.svc:15000"},
        ]}]},
        "status": status,
    }))
    .unwrap()
}

fn told(pods: &[Pod]) -> BTreeMap<String, Vec<String>> {
    let found = consumers(pods, "store", "orders");
    let addresses = tenants(&found).tenants.addresses.into_iter();
    let texts = addresses.map(|(name, all)| (name, all.iter().map(ToString::to_string).collect()));
    texts.collect()
}

fn expected(wanted: &[(&str, &[&str])]) -> BTreeMap<String, Vec<String>> {
    let wanted = wanted.iter();
    wanted
        .map(|(name, all)| {
            let all = all.iter().map(|address| (*address).to_owned());
            ((*name).to_owned(), all.collect())
        })
        .collect()
}

const EARLY: &str = "2026-01-01T00:00:00Z";
const LATE: &str = "2026-01-02T00:00:00Z";

#[test]
fn every_address_of_a_pod_is_its_applications() {
    let both = json!({"podIP": "10.0.0.9", "podIPs": [{"ip": "10.0.0.9"}, {"ip": "fd00::9"}]});
    let pods = [
        pod("b", "bank", EARLY, both),
        pod("a", "shop", EARLY, json!({"podIP": "10.0.0.2"})),
        pod("c", "shop", EARLY, json!({"podIP": "10.0.0.1"})),
        pod("d", "late", EARLY, json!({})),
    ];
    assert_eq!(
        told(&pods),
        expected(&[
            ("bank", &["10.0.0.9", "fd00::9"]),
            ("shop", &["10.0.0.1", "10.0.0.2"]),
        ])
    );
}

#[test]
fn an_address_that_two_pods_claim_is_that_of_the_one_that_started_last() {
    let claim = json!({"podIP": "10.0.0.1"});
    let pods = [
        pod("z", "shop", LATE, claim.clone()),
        pod("a", "bank", EARLY, claim),
    ];
    assert_eq!(told(&pods), expected(&[("shop", &["10.0.0.1"])]));
}

#[test]
fn a_pod_that_has_ended_or_has_no_address_of_the_sidecar_is_no_consumer() {
    let ended = json!({"podIP": "10.0.0.1", "phase": "Succeeded"});
    let mut other = pod("b", "shop", EARLY, json!({"podIP": "10.0.0.2"}));
    let url = "http://outrigger-orders-2.store.svc:15000";
    other.spec.as_mut().unwrap().containers[0]
        .env
        .as_mut()
        .unwrap()[0]
        .value = Some(url.into());
    let pods = [pod("a", "shop", EARLY, ended), other];
    assert_eq!(consumers(&pods, "store", "orders"), []);
}

#[test]
fn an_address_that_a_pod_without_the_sidecar_got_later_is_told_of_nobody() {
    let claim = json!({"podIP": "10.0.0.1"});
    let mut other = pod("other", "bank", LATE, claim.clone());
    other.spec.as_mut().unwrap().containers[0].env = None;
    let pods = [pod("a", "shop", EARLY, claim), other];
    assert_eq!(told(&pods), expected(&[]));
}

#[test]
fn the_address_of_a_deleted_pod_is_told_until_its_last_container_has_ended() {
    let ended = json!({"name": "web", "state": {"terminated": {"exitCode": 0}}});
    let running = json!({"name": "proxy", "state": {"running": {}}});
    for (containers, expected_addresses) in [
        (vec![ended.clone(), running], vec!["10.0.0.1"]),
        (vec![ended], Vec::new()),
    ] {
        let containers: Vec<_> = containers
            .into_iter()
            .map(|mut container| {
                for (field, value) in [("image", ""), ("imageID", "")] {
                    container[field] = value.into();
                }
                container["ready"] = false.into();
                container["restartCount"] = 0.into();
                container
            })
            .collect();
        let status = json!({"podIP": "10.0.0.1", "containerStatuses": containers});
        let mut deleted = pod("a", "shop", EARLY, status);
        let time = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        deleted.metadata.deletion_timestamp = Some(time);
        let found = consumers(&[deleted], "store", "orders");
        let found: Vec<_> = found.iter().flat_map(|found| &found.addresses).collect();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected_addresses);
    }
}

#[test]
fn the_address_of_a_node_is_no_application_s() {
    let mut on_the_node = pod("a", "shop", EARLY, json!({"podIP": "10.0.0.1"}));
    on_the_node.spec.as_mut().unwrap().host_network = Some(true);
    assert_eq!(told(&[on_the_node]), expected(&[]));
}

#[test]
fn a_pod_that_the_operator_made_is_no_consumer() {
    for label in ["outrigger.dev/preflight", "outrigger.dev/shared-sidecar"] {
        let mut made = pod("a", "shop", EARLY, json!({"podIP": "10.0.0.1"}));
        let labels = made.metadata.labels.as_mut().unwrap();
        labels.insert(label.to_owned(), "other".to_owned());
        assert_eq!(consumers(&[made], "store", "orders"), []);
    }
}

#[test]
fn the_oldest_pods_have_the_room() {
    let consumer = |index: u32| Consumer {
        calls: Vec::new(),
        application: "shop".into(),
        node: None,
        addresses: vec![std::net::Ipv4Addr::from(0x0a00_0000 + index).into()],
    };
    let all: Vec<_> = (0..20_000).map(consumer).collect();
    let told = tenants(&all);
    let text = serde_json::to_string(&told.tenants).unwrap();
    assert!(text.len() <= MOST_BYTES, "{}", text.len());
    assert!(text.len() > MOST_BYTES - 200, "{}", text.len());
    let known = &told.tenants.addresses["shop"];
    assert_eq!(known.len() + told.left_out, all.len());
    // Shorter addresses of younger pods may still fit where a longer one did not.
    assert!(known.contains(&all[0].addresses[0]));
    assert!(!known.contains(&all[19_999].addresses[0]));
}
