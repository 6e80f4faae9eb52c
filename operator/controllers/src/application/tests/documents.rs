use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use outrigger_control::{Document, content_hash, layout};
use serde_json::json;

use super::fixtures::{application, shop, sidecar};
use crate::application::documents::ConfigMaps;
use crate::application::read::Found;

fn use_key(found: &mut Found, field: &str) {
    found.edit(|application| {
        let parameters = json!([{"function": "orders", "idempotency": {"keyFields": [field]}}]);
        application.spec.sidecars[0].parameters = serde_json::from_value(parameters).unwrap();
    });
}

fn files(config_map: &ConfigMap) -> BTreeSet<&str> {
    config_map
        .data
        .iter()
        .flatten()
        .map(|(file, _)| file.as_str())
        .collect()
}

fn current(found: &Found) -> String {
    layout::document_file(found.plan().sidecars[0].document_hash().unwrap())
}

#[test]
fn a_document_is_found_by_the_hash_of_its_content() {
    let found = shop();
    let [config_map] = &found.decide().config_maps.apply[..] else {
        panic!("not one ConfigMap");
    };
    assert_eq!(
        config_map.metadata.name.as_deref(),
        Some("outrigger.shop.orders")
    );
    assert_eq!(config_map.metadata.namespace.as_deref(), Some("store"));
    let (file, text) = config_map.data.as_ref().unwrap().first_key_value().unwrap();
    let document: Document = serde_json::from_str(text).unwrap();
    assert_eq!(*file, format!("{}.json", content_hash(&document).unwrap()));
    assert_eq!(document.application.name, "shop");
}

#[test]
fn documents_outlive_their_application_while_the_sidecar_stays() {
    let [config_map] = &shop().decide().config_maps.apply[..] else {
        panic!("not one ConfigMap");
    };
    let owners = config_map.metadata.owner_references.iter().flatten();
    let owners: Vec<_> = owners
        .map(|owner| (owner.kind.as_str(), owner.uid.as_str(), owner.controller))
        .collect();
    assert_eq!(
        owners,
        [
            ("IntegratedApp", "uid-shop", Some(true)),
            ("IntegrationSidecar", "uid-orders", None),
        ]
    );
}

#[test]
fn applications_with_different_key_fields_share_one_sidecar_and_have_documents_of_their_own() {
    let mut one = shop();
    use_key(&mut one, "/orderId");
    let mut other = shop();
    other.edit(|application| application.metadata.name = Some("batch".into()));
    use_key(&mut other, "/line/id");
    assert_eq!(one.referenced.sidecars, other.referenced.sidecars);
    let config_maps = [&one, &other].map(|found| found.decide().config_maps.apply.remove(0));
    let [first, second] = config_maps.each_ref();
    assert_eq!(
        first.metadata.name.as_deref(),
        Some("outrigger.shop.orders")
    );
    assert_eq!(
        second.metadata.name.as_deref(),
        Some("outrigger.batch.orders")
    );
    assert!(files(first).is_disjoint(&files(second)));
    for (config_map, key) in [(first, "/orderId"), (second, "/line/id")] {
        let text = config_map.data.as_ref().unwrap().values().next().unwrap();
        assert!(text.contains(key), "{text}");
    }
}

#[test]
fn what_stands_is_not_written_again() {
    let mut found = shop();
    found.add_injected("a");
    found.apply();
    assert_eq!(found.decide().config_maps, ConfigMaps::default());
}

#[test]
fn edits_by_others_are_undone() {
    let mut found = shop();
    found.apply();
    let stored = ConfigMap::clone(&found.config_maps[0]);
    let mut with_other_text = stored.clone();
    for text in with_other_text
        .data
        .iter_mut()
        .flat_map(|data| data.values_mut())
    {
        "{}".clone_into(text);
    }
    let mut without_label = stored.clone();
    let labels = without_label.metadata.labels.get_or_insert_default();
    labels.remove("outrigger.dev/sidecar");
    let mut without_owner = stored;
    without_owner.metadata.owner_references = None;
    for edited in [with_other_text, without_label, without_owner] {
        found.config_maps = vec![Arc::new(edited)];
        assert_eq!(found.decide().config_maps.apply.len(), 1);
    }
}

#[test]
fn what_others_add_is_theirs() {
    let mut found = shop();
    found.apply();
    let mut edited = ConfigMap::clone(&found.config_maps[0]);
    let data = edited.data.get_or_insert_default();
    data.insert("notes.txt".into(), "text".into());
    found.config_maps = vec![Arc::new(edited)];
    assert_eq!(found.decide().config_maps, ConfigMaps::default());
}

#[test]
fn a_document_stays_while_an_order_names_it() {
    let mut found = shop();
    found.add_injected("a");
    found.apply();
    let first = current(&found);
    use_key(&mut found, "/other");
    found.apply();
    let second = current(&found);
    let both = BTreeSet::from([first.as_str(), second.as_str()]);
    assert_eq!(files(&found.config_maps[0]), both);
    found.pods.clear();
    found.add_injected("b");
    found.apply();
    assert_eq!(
        files(&found.config_maps[0]),
        BTreeSet::from([second.as_str()])
    );
}

#[test]
fn a_pod_that_ends_still_reads_its_document() {
    let mut found = shop();
    found.apply();
    let mut ending = found.injected("a");
    ending.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-03T00:00:00Z")).unwrap();
    found.add(ending);
    use_key(&mut found, "/other");
    found.apply();
    assert_eq!(files(&found.config_maps[0]).len(), 2);
}

#[test]
fn an_order_that_cannot_be_read_may_name_any_document() {
    let mut found = shop();
    found.apply();
    let mut pod = found.injected("a");
    let annotations = pod.metadata.annotations.get_or_insert_default();
    annotations.insert(layout::order_annotation("orders"), "{}".into());
    found.add(pod);
    use_key(&mut found, "/other");
    found.apply();
    assert_eq!(files(&found.config_maps[0]).len(), 2);
}

#[test]
fn the_documents_of_a_removed_sidecar_go_with_its_last_pod() {
    let mut found = shop();
    found
        .referenced
        .sidecars
        .insert("bills".into(), sidecar("bills", 15001));
    found.add_injected("a");
    found.apply();
    found.edit(|application| application.spec.sidecars[0].name = "bills".into());
    found.apply();
    let deleted = found.decide().config_maps.delete;
    assert!(deleted.is_empty(), "still in use: {deleted:?}");
    found.pods.clear();
    found.add_injected("b");
    let deleted = found.decide().config_maps.delete;
    assert_eq!(
        deleted,
        [("outrigger.shop.orders".into(), "uid-of-it".into())]
    );
}

#[test]
fn documents_of_a_former_namesake_go_too() {
    let mut found = shop();
    found.apply();
    found.edit(|application| {
        application.metadata.uid = Some("uid-anew".into());
        application.spec.sidecars.clear();
    });
    assert_eq!(found.decide().config_maps.delete.len(), 1);
}

#[test]
fn an_application_that_cannot_be_served_keeps_its_documents() {
    let mut found = shop();
    found.add_injected("a");
    found.apply();
    found.referenced.sidecars.clear();
    assert_eq!(found.decide().config_maps, ConfigMaps::default());
}

#[test]
fn an_application_without_sidecars_needs_no_document() {
    let mut found = shop();
    let bare = application("shop", "2026-01-02T00:00:00Z", json!([]));
    found.edit(|application| *application = Arc::unwrap_or_clone(bare));
    assert_eq!(found.decide().config_maps, ConfigMaps::default());
}
