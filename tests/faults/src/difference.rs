//! How the answers of two API servers to the same request differ.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::request::Answer;

/// What each server gives by itself.
const OWN: [&str; 8] = [
    "continue",
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// What no server fills in: here the real answer may not have more either.
const WHOLE: [&str; 5] = [
    "annotations",
    "conditions",
    "data",
    "labels",
    "ownerReferences",
];

/// The first difference of the answers to a step, `here` being those in memory.
pub(crate) fn difference(step: &Value, here: &Answer, there: &Answer) -> Option<String> {
    let recorded = &step["status"];
    if recorded.is_number() && *recorded != here.status {
        return Some(format!("another status than {recorded}, which is recorded"));
    }
    if here.status != there.status {
        return Some("another status".to_owned());
    }
    if !here.is_success() {
        let same = here.body["reason"] == there.body["reason"];
        return (!same).then(|| "another reason".to_owned());
    }
    if let Some(events) = here.body.as_array() {
        return different_event(step, events, there.body.as_array()?);
    }
    // What is deleted is answered as it was, or as it ends.
    let is_end = step["method"] == "DELETE" || here.body["kind"] == "Status";
    if is_end || step["method"].is_null() {
        return None;
    }
    let page = different_page(&here.body, &there.body);
    let what = page.or_else(|| different(&here.body, &there.body, false))?;
    Some(format!("another {what}"))
}

/// What of a list, or of a page of one, is another but for the objects in it.
fn different_page(here: &Value, there: &Value) -> Option<String> {
    let count = |list: &Value| list["items"].as_array().map(Vec::len);
    let more = |list: &Value| list["metadata"]["continue"].is_string();
    let left = |list: &Value| list["metadata"]["remainingItemCount"].as_u64();
    let compared = [
        ("number of objects", count(here) == count(there)),
        ("end of the page", more(here) == more(there)),
        ("number of objects left", left(here) == left(there)),
    ];
    let (what, _) = compared.into_iter().find(|(_, is_same)| !is_same)?;
    Some(what.to_owned())
}

/// The first event of a watch that is another one, or not of the recorded type.
fn different_event(step: &Value, here: &[Value], there: &[Value]) -> Option<String> {
    let types = |events: &[Value]| -> Vec<Value> {
        events.iter().map(|event| event["type"].clone()).collect()
    };
    let recorded = step["events"].as_array();
    if recorded.is_some_and(|recorded| *recorded != types(here)) {
        return Some("other events than are recorded".to_owned());
    }
    if types(here) != types(there) {
        return Some("other events".to_owned());
    }
    let mut both = here.iter().zip(there).enumerate();
    both.find_map(|(index, (event, other))| {
        let (object, other) = (&event["object"], &other["object"]);
        let is_same = match event["type"] == "ERROR" {
            true => ["kind", "status", "code", "reason"]
                .iter()
                .all(|field| object[field] == other[field]),
            false => different(object, other, false).is_none(),
        };
        (!is_same).then(|| format!("another event {index}"))
    })
}

/// The first place where something is not in the other value or, within what is whole, in only one
/// of both.
fn different(here: &Value, there: &Value, is_whole: bool) -> Option<String> {
    match (here, there) {
        (Value::Object(fields), Value::Object(others)) => {
            let names: BTreeSet<_> = fields.keys().chain(others.keys()).collect();
            let mut names = names
                .into_iter()
                .filter(|name| !OWN.contains(&name.as_str()));
            names.find_map(|name| {
                let is_whole = is_whole || WHOLE.contains(&name.as_str());
                let inner = different(&here[name], &there[name], is_whole)?;
                Some(place(name, &inner))
            })
        }
        // What is whole may be deep in what the other has alone.
        (Value::Null, Value::Object(_)) => different(&json!({}), there, is_whole),
        (Value::Array(items), Value::Array(others))
            if items.len() == others.len() || !is_whole && items.len() < others.len() =>
        {
            let mut both = items.iter().zip(others).enumerate();
            both.find_map(|(index, (item, other))| {
                let inner = different(item, other, is_whole)?;
                Some(place(index, &inner))
            })
        }
        _ if is_empty(here) => (is_whole && !is_empty(there)).then(String::new),
        _ => (here != there).then(String::new),
    }
}

/// Where something is in a value, from where it is in a part of it.
fn place(part: impl Display, inner: &str) -> String {
    match inner {
        "" => part.to_string(),
        inner => format!("{part}.{inner}"),
    }
}

/// What JSON of Kubernetes leaves out.
fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(step: &Value, here: &Value, there: &Value) -> Option<String> {
        let [here, there] = [here, there].map(|body| Answer {
            status: 200,
            body: body.clone(),
        });
        difference(step, &here, &there)
    }

    fn list(names: &[&str]) -> Value {
        let items = names.iter().map(|name| json!({"metadata": {"name": name}}));
        let items: Vec<_> = items.collect();
        json!({"kind": "SecretList", "metadata": {"resourceVersion": "1"}, "items": items})
    }

    fn page(metadata: Value) -> Value {
        json!({"kind": "SecretList", "metadata": metadata, "items": []})
    }

    #[test]
    fn another_object_is_seen() {
        let bare = json!({"metadata": {"name": "a"}});
        let with = |name: &str, value: Value| {
            let mut object = bare.clone();
            object["metadata"][name] = value;
            object
        };
        let labels = |labels: Value| with("labels", labels);
        let owners = |kinds: &[&str]| {
            let owners = kinds.iter().map(|kind| json!({"kind": kind}));
            with("ownerReferences", owners.collect())
        };
        let (shop, both) = (
            json!({"app": "shop"}),
            json!({"app": "shop", "tier": "web"}),
        );
        for (here, there, what) in [
            (
                json!({"spec": {"image": "a"}}),
                json!({"spec": {"image": "b"}}),
                "another spec.image",
            ),
            (
                json!({"spec": {"images": ["a", "b"]}}),
                json!({"spec": {"images": ["a"]}}),
                "another spec.images",
            ),
            (
                labels(shop.clone()),
                bare.clone(),
                "another metadata.labels",
            ),
            (
                bare.clone(),
                labels(shop.clone()),
                "another metadata.labels.app",
            ),
            (
                labels(json!({})),
                labels(shop.clone()),
                "another metadata.labels.app",
            ),
            (
                labels(shop.clone()),
                labels(both.clone()),
                "another metadata.labels.tier",
            ),
            (labels(both), labels(shop), "another metadata.labels.tier"),
            (
                bare.clone(),
                with("annotations", json!({"a": ""})),
                "another metadata.annotations.a",
            ),
            (
                bare.clone(),
                owners(&["ReplicaSet"]),
                "another metadata.ownerReferences",
            ),
            (
                owners(&["ReplicaSet"]),
                owners(&["ReplicaSet", "Pod"]),
                "another metadata.ownerReferences",
            ),
            (
                bare.clone(),
                json!({"metadata": {"name": "a"}, "data": {"key": "MQ=="}}),
                "another data.key",
            ),
            (
                bare.clone(),
                json!({"metadata": {"name": "a"}, "status": {"conditions": [{"type": "Ready"}]}}),
                "another status.conditions",
            ),
        ] {
            let step = json!({"method": "GET", "status": 200});
            let found = found(&step, &here, &there);
            assert_eq!(found.as_deref(), Some(what), "{here} {there}");
        }
    }

    #[test]
    fn another_list_is_seen() {
        for (here, there, what) in [
            (list(&["a", "b"]), list(&["a"]), "another number of objects"),
            (list(&["a"]), list(&["a", "b"]), "another number of objects"),
            (list(&[]), list(&["a"]), "another number of objects"),
            (
                list(&["a", "b"]),
                list(&["b", "a"]),
                "another items.0.metadata.name",
            ),
            (
                page(json!({"continue": "1.a"})),
                page(json!({})),
                "another end of the page",
            ),
            (
                page(json!({})),
                page(json!({"continue": "x"})),
                "another end of the page",
            ),
            (
                page(json!({"remainingItemCount": 1})),
                page(json!({"remainingItemCount": 2})),
                "another number of objects left",
            ),
            (
                page(json!({"remainingItemCount": 1})),
                page(json!({})),
                "another number of objects left",
            ),
            (
                page(json!({})),
                page(json!({"remainingItemCount": 1})),
                "another number of objects left",
            ),
        ] {
            let step = json!({"method": "GET", "status": 200});
            let found = found(&step, &here, &there);
            assert_eq!(found.as_deref(), Some(what), "{here} {there}");
        }
    }

    #[test]
    fn another_event_is_seen() {
        let event = |kind: &str, object: Value| json!({"type": kind, "object": object});
        let named = |kind: &str, name: &str| event(kind, json!({"metadata": {"name": name}}));
        let refused = |reason: &str| {
            let status =
                json!({"kind": "Status", "status": "Failure", "code": 410, "reason": reason});
            event("ERROR", status)
        };
        let labelled = event(
            "ADDED",
            json!({"metadata": {"name": "a", "labels": {"app": "shop"}}}),
        );
        let a = named("ADDED", "a");
        let watch = |events: Value| json!({"method": "GET", "status": 200, "events": events});
        let (any, one) = (watch(Value::Null), watch(json!(["ADDED"])));
        for (step, here, there, what) in [
            (
                &one,
                json!([]),
                json!([a]),
                "other events than are recorded",
            ),
            (
                &one,
                json!([named("DELETED", "a")]),
                json!([a]),
                "other events than are recorded",
            ),
            (&one, json!([a]), json!([]), "other events"),
            (&one, json!([a]), json!([a, a]), "other events"),
            (
                &one,
                json!([a]),
                json!([named("MODIFIED", "a")]),
                "other events",
            ),
            (&any, json!([]), json!([a]), "other events"),
            (
                &one,
                json!([a]),
                json!([named("ADDED", "b")]),
                "another event 0",
            ),
            (&one, json!([a]), json!([labelled]), "another event 0"),
            (
                &any,
                json!([a, refused("Expired")]),
                json!([a, refused("Gone")]),
                "another event 1",
            ),
        ] {
            let found = found(step, &here, &there);
            assert_eq!(found.as_deref(), Some(what), "{here} {there}");
        }
    }

    #[test]
    fn another_refusal_is_seen() {
        let refused = |status, reason: &str| Answer {
            status,
            body: json!({"kind": "Status", "reason": reason}),
        };
        let step = json!({"method": "POST", "status": 409});
        let here = refused(409, "Conflict");
        for (there, what) in [
            (refused(409, "Conflict"), None),
            (refused(409, "AlreadyExists"), Some("another reason")),
            (refused(422, "Conflict"), Some("another status")),
        ] {
            let found = difference(&step, &here, &there);
            assert_eq!(found.as_deref(), what, "{}", there.told());
        }
        let found = difference(&step, &refused(422, "Invalid"), &refused(422, "Invalid"));
        let what = "another status than 409, which is recorded";
        assert_eq!(found.as_deref(), Some(what));
    }

    #[test]
    fn what_a_real_server_fills_in_is_no_difference() {
        let here = json!({
            "metadata": {"name": "a", "uid": "uid-1", "labels": {}},
            "spec": {"containers": [{"name": "web"}], "tolerations": []},
        });
        let there = json!({
            "metadata": {"name": "a", "uid": "5f0c", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "containers": [{"name": "web", "terminationMessagePath": "/dev/termination-log"}],
                "tolerations": [{"operator": "Exists"}],
                "dnsPolicy": "ClusterFirst",
                "securityContext": {},
            },
            "status": {"phase": "Pending", "conditions": []},
        });
        let step = json!({"method": "GET", "status": 200});
        assert_eq!(found(&step, &here, &there), None);
        let events = |object: Value| json!([{"type": "ADDED", "object": object}]);
        let step = json!({"method": "GET", "status": 200, "events": ["ADDED"]});
        assert_eq!(found(&step, &events(here), &events(there)), None);
        let list = list(&["a", "b"]);
        assert_eq!(found(&json!({"method": "GET"}), &list, &list), None);
    }
}
