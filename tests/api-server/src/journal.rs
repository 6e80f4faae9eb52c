//! What was asked of the server, in a form in which another one can be asked the same: UIDs and
//! versions, which each server gives by itself, are told by what they are of.

use http::Method;
use serde_json::{Value, json};

use crate::state::State;

/// Puts a write by a client down.
pub(crate) fn request(
    state: &mut State,
    (method, uri, content_type): (&Method, &str, &str),
    object: &str,
    body: &Value,
) {
    let body = portable(state, object, body);
    state.journal.push(json!({
        "method": method.as_str(), "uri": uri, "contentType": content_type, "body": body,
    }));
}

/// Puts down what a client was answered.
pub(crate) fn answered(state: &mut State, status: u16) {
    if let Some(last) = state.journal.last_mut() {
        last["status"] = status.into();
    }
}

/// Puts down that somebody else wrote an object.
pub(crate) fn put(state: &mut State, path: &str, object: &Value) {
    let mut object = object.clone();
    for field in ["uid", "resourceVersion", "generation", "creationTimestamp"] {
        let metadata = object["metadata"].as_object_mut();
        metadata.map(|metadata| metadata.remove(field));
    }
    let body = portable(state, path, &object);
    state.journal.push(json!({"put": path, "body": body}));
}

/// Puts down that somebody else deleted an object.
pub(crate) fn delete(state: &mut State, path: &str) {
    state.journal.push(json!({"delete": path}));
}

fn portable(state: &State, object: &str, value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(name, value)| {
                let value = match name.as_str() {
                    "resourceVersion" => version(state, object, value),
                    _ => portable(state, object, value),
                };
                (name.clone(), value)
            });
            fields.collect()
        }
        Value::Array(items) => items
            .iter()
            .map(|item| portable(state, object, item))
            .collect(),
        Value::String(text) if text.starts_with("uid-") => match state.history.path_of(value) {
            Some(path) => format!("${{uid {path}}}").into(),
            None => value.clone(),
        },
        other => other.clone(),
    }
}

fn version(state: &State, object: &str, value: &Value) -> Value {
    let current = state.objects.get(object);
    let current = current.map(|found| &found["metadata"]["resourceVersion"]);
    match current == Some(value) {
        true => "${version}".into(),
        false => "${stale}".into(),
    }
}
