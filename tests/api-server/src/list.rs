//! Lists, whole or in pages: all pages show the objects as they were when the first was asked for.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::failure::{BAD_REQUEST, EXPIRED, Failure};
use crate::selection::Selection;
use crate::state::State;

/// Answers a list, or the page of one that `limit` and `continue` ask for.
pub(crate) fn list(
    state: &State,
    selection: &Selection,
    query: &BTreeMap<String, String>,
) -> Result<Value, Failure> {
    let get = |name: &str| query.get(name).filter(|text| !text.is_empty());
    let limit = match get("limit") {
        Some(limit) => limit.parse().map_err(|_| BAD_REQUEST)?,
        None => 0,
    };
    let (version, last) = match get("continue") {
        Some(token) => position(token).ok_or(BAD_REQUEST)?,
        None => (state.version(), ""),
    };
    let objects = state.at(version).ok_or(EXPIRED)?;
    let mut left = objects
        .iter()
        .filter(|&(&path, object)| path > last && selection.selects(path, object));
    let page: Vec<_> = match limit {
        0 => left.by_ref().collect(),
        _ => left.by_ref().take(limit).collect(),
    };
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let (Some((last, _)), rest @ 1..) = (page.last(), left.count()) {
        metadata["continue"] = format!("{version}.{last}").into();
        // What a selector would leave out is not counted in advance.
        if !selection.is_narrowed() {
            metadata["remainingItemCount"] = rest.into();
        }
    }
    let (api_version, kind) = selection.type_();
    let mut items: Vec<Value> = page.iter().map(|(_, object)| (**object).clone()).collect();
    // The list says it for all, but custom kinds say it again.
    if !selection.is_custom() {
        for fields in items.iter_mut().filter_map(Value::as_object_mut) {
            fields.retain(|name, _| name != "apiVersion" && name != "kind");
        }
    }
    let kind = format!("{}List", kind.unwrap_or_default());
    Ok(json!({"apiVersion": api_version, "kind": kind, "metadata": metadata, "items": items}))
}

/// The version and the last path of the page before, from a token, which needs no escapes in a query.
fn position(token: &str) -> Option<(u64, &str)> {
    let (version, last) = token.split_once('.')?;
    Some((version.parse().ok()?, last))
}
