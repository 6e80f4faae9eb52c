//! How the answers of two API servers to the same request differ.

use serde_json::{Map, Value};

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

/// An answer. That to a watch has its events in a list.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn told(&self) -> String {
        let mut body = self.body.clone();
        if let Some(metadata) = body.pointer_mut("/metadata/managedFields") {
            metadata.take();
        }
        format!("{} {body}", self.status)
    }
}

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
    let more = |answer: &Answer| answer.body["metadata"]["continue"].is_string();
    if more(here) != more(there) {
        return Some("another end of the page".to_owned());
    }
    // What is deleted is answered as it was, or as it ends.
    let is_end = step["method"] == "DELETE" || here.body["kind"] == "Status";
    if is_end || step["method"].is_null() {
        return None;
    }
    let place = missing(&here.body, &there.body)?;
    Some(format!("another {place}"))
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
            false => missing(object, other).is_none(),
        };
        (!is_same).then(|| format!("another event {index}"))
    })
}

/// The first place where something is not in the other value.
fn missing(here: &Value, there: &Value) -> Option<String> {
    match (here, there) {
        (Value::Object(fields), Value::Object(_)) => fields
            .iter()
            .filter(|(name, value)| !OWN.contains(&name.as_str()) && !is_empty(value))
            .find_map(|(name, value)| {
                let other = &there[name];
                let inner = missing(value, other).or_else(|| {
                    let is_whole = WHOLE.contains(&name.as_str());
                    is_whole.then(|| missing(other, value)).flatten()
                })?;
                Some(format!(
                    "{name}{}{inner}",
                    if inner.is_empty() { "" } else { "." }
                ))
            }),
        (Value::Array(items), Value::Array(others)) if items.len() <= others.len() => {
            let mut both = items.iter().zip(others).enumerate();
            both.find_map(|(index, (item, other))| {
                missing(item, other).map(|inner| format!("{index}.{inner}"))
            })
        }
        _ => (here != there).then(String::new),
    }
}

/// What JSON of Kubernetes leaves out.
fn is_empty(value: &Value) -> bool {
    value.is_null()
        || value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(Map::is_empty)
}
