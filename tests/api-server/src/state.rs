use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::StatusCode;
use serde_json::{Value, json};

use crate::address::Address;
use crate::failure::{CONFLICT, EXISTS, Failure, INVALID, NOT_FOUND};
use crate::history::History;
use crate::managers::{Applying, Managers};
use crate::patch::PatchForm;
use crate::{gates, immutable, validation};

/// Objects that others create appear at the same second, unless they say otherwise.
const CREATED: &str = "2026-01-01T00:00:00Z";

#[derive(Default)]
pub(crate) struct State {
    pub(crate) objects: BTreeMap<String, Value>,
    pub(crate) history: History,
    managers: Managers,
    pub(crate) writes: Vec<String>,
    /// Paths of the objects that were read one by one.
    pub(crate) reads: Vec<String>,
    /// Paths of the collections that were listed or watched.
    pub(crate) lists: BTreeSet<String>,
    /// What was asked, by whomever.
    pub(crate) journal: Vec<Value>,
    pub(crate) failures: usize,
    /// Text of writes that are refused.
    pub(crate) forbidden: Option<String>,
    /// What an admission webhook makes of pods.
    pub(crate) webhook: Option<Webhook>,
}

pub(crate) type Webhook = Arc<dyn Fn(Value) -> Value + Send + Sync>;

impl State {
    /// The version of the last change.
    pub(crate) fn version(&self) -> u64 {
        self.history.version()
    }

    /// The objects as they were at a version, if that is remembered.
    pub(crate) fn at(&self, version: u64) -> Option<BTreeMap<&str, &Value>> {
        if version < self.version() {
            return self.history.at(version);
        }
        let all = self.objects.iter();
        Some(all.map(|(path, object)| (path.as_str(), object)).collect())
    }

    /// Stores an object with its UID, version and generation. Nothing happens when it is equal to
    /// the one that is there.
    pub(crate) fn store(&mut self, path: &str, mut object: Value) -> Value {
        let version = self.version() + 1;
        let known = self.objects.get(path);
        let metadata = &mut object["metadata"];
        let kind = match known {
            Some(known) => {
                for field in ["uid", "creationTimestamp", "generation", "resourceVersion"] {
                    metadata[field] = known["metadata"][field].clone();
                }
                if *known == object {
                    return object;
                }
                if known["spec"] != object["spec"] {
                    let generation = known["metadata"]["generation"].as_u64().unwrap_or(0);
                    object["metadata"]["generation"] = (generation + 1).into();
                }
                "MODIFIED"
            }
            None => {
                metadata["uid"] = format!("uid-{}", self.history.changes() + 1).into();
                metadata["generation"] = 1.into();
                if metadata["creationTimestamp"].is_null() {
                    metadata["creationTimestamp"] = CREATED.into();
                }
                "ADDED"
            }
        };
        object["metadata"]["resourceVersion"] = version.to_string().into();
        self.objects.insert(path.to_owned(), object.clone());
        self.history.push(path, kind, object.clone());
        object
    }

    pub(crate) fn remove(&mut self, path: &str) -> Option<Value> {
        let mut object = self.objects.remove(path)?;
        self.managers.forget(path);
        object["metadata"]["resourceVersion"] = (self.version() + 1).to_string().into();
        self.history.push(path, "DELETED", object.clone());
        self.collect(&object["metadata"]["uid"]);
        Some(object)
    }

    /// Removes what an object that is gone owned, and nobody else who is left does.
    fn collect(&mut self, gone: &Value) {
        let of = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            let owners = owners.into_iter().flatten();
            owners.map(|owner| owner["uid"].clone()).collect::<Vec<_>>()
        };
        let left: BTreeSet<_> = self.objects.values().map(uid).collect();
        let orphans = self.objects.iter().filter(|(_, object)| {
            let owners = of(object);
            let has = |owner: &Value| owner.as_str().is_some_and(|owner| left.contains(owner));
            owners.contains(gone) && !owners.iter().any(has)
        });
        let orphans: Vec<String> = orphans.map(|(path, _)| path.clone()).collect();
        for path in orphans {
            self.remove(&path);
        }
    }

    pub(crate) fn create(
        &mut self,
        collection: &Address,
        mut body: Value,
    ) -> Result<Value, Failure> {
        let name = match body["metadata"]["name"].as_str() {
            Some(name) => name.to_owned(),
            None => {
                let prefix = body["metadata"]["generateName"]
                    .as_str()
                    .unwrap_or_default();
                format!("{prefix}{:05}", self.version())
            }
        };
        let address = collection.with_name(&name);
        if self.objects.contains_key(&address.object()) {
            return Err(EXISTS);
        }
        address.complete(&mut body);
        body["metadata"]["creationTimestamp"] = now();
        if let Some(fields) = body.as_object_mut().filter(|_| address.has_status()) {
            fields.remove("status");
        }
        if !validation::allow(&address, None, &body) {
            return Err(INVALID);
        }
        Ok(self.store(&address.object(), body))
    }

    pub(crate) fn replace(&mut self, address: &Address, body: Value) -> Result<Value, Failure> {
        let found = self.objects.get(&address.object()).ok_or(NOT_FOUND)?;
        let uid = &body["metadata"]["uid"];
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]
            || !uid.is_null() && *uid != found["metadata"]["uid"]
        {
            return Err(CONFLICT);
        }
        let changed = written(address, found.clone(), body);
        if !may_become(address, found, &changed) {
            return Err(INVALID);
        }
        Ok(self.store(&address.object(), changed))
    }

    pub(crate) fn delete(&mut self, address: &Address, options: &Value) -> Result<Value, Failure> {
        let path = address.object();
        let found = self.objects.get(&path).ok_or(NOT_FOUND)?;
        let preconditions = &options["preconditions"];
        let is_other = |field| {
            let wanted: &Value = &preconditions[field];
            !wanted.is_null() && *wanted != found["metadata"][field]
        };
        if is_other("uid") {
            return Err(Failure::of_another());
        }
        if is_other("resourceVersion") {
            return Err(CONFLICT);
        }
        self.remove(&path).ok_or(NOT_FOUND)
    }

    pub(crate) fn patch(
        &mut self,
        address: &Address,
        form: PatchForm,
        by: Applying<'_>,
        body: Value,
    ) -> Result<(StatusCode, Value), Failure> {
        let path = address.object();
        let found = match self.objects.get(&path) {
            Some(found) => found.clone(),
            // An apply creates, but not with a UID, and not by a subresource.
            None if form == PatchForm::Apply && address.subresource.is_none() => {
                if !body["metadata"]["uid"].is_null() {
                    return Err(CONFLICT);
                }
                json!({"metadata": {"creationTimestamp": now()}})
            }
            None => return Err(NOT_FOUND),
        };
        let mut changed = found.clone();
        match form {
            PatchForm::Json => {
                let patch: json_patch::Patch = serde_json::from_value(body).map_err(|_| INVALID)?;
                json_patch::patch(&mut changed, &patch).map_err(|_| INVALID)?;
            }
            PatchForm::Merge | PatchForm::Apply => {
                let is_other = |field: &str| {
                    let wanted = &body["metadata"][field];
                    !wanted.is_null() && *wanted != found["metadata"][field]
                };
                if is_other("resourceVersion") {
                    return Err(CONFLICT);
                }
                // A write of the status ignores all other fields but the version.
                if address.subresource.is_none() && is_other("uid") {
                    return Err(Failure::immutable("metadata.uid"));
                }
                if form == PatchForm::Apply {
                    let key = format!("{path} {:?}", address.subresource);
                    let applied = self.managers.apply(&key, by, &mut changed, &body);
                    applied.map_err(|_| CONFLICT)?;
                }
                json_patch::merge(&mut changed, &body);
            }
        }
        address.complete(&mut changed);
        let changed = match self.objects.contains_key(&path) {
            true => written(address, found.clone(), changed),
            false => changed,
        };
        let is_new = !self.objects.contains_key(&path);
        let is_allowed = match is_new {
            true => validation::allow(address, None, &changed),
            false => may_become(address, &found, &changed),
        };
        if !is_allowed {
            return Err(INVALID);
        }
        let status = match is_new {
            true => StatusCode::CREATED,
            false => StatusCode::OK,
        };
        Ok((status, self.store(&path, changed)))
    }
}

fn uid(object: &Value) -> &str {
    object["metadata"]["uid"].as_str().unwrap_or_default()
}

/// Whether an object may change so.
fn may_become(address: &Address, before: &Value, after: &Value) -> bool {
    validation::allow(address, Some(before), after)
        && (!address.is_pod() || gates::allow(before, after) && immutable::allow(before, after))
}

/// The time as an object's metadata has it, to the second.
fn now() -> Value {
    let mut now = jiff::Timestamp::now();
    now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
    now.to_string().into()
}

/// What a write of `body` makes of `found`: through the status subresource the status alone, and
/// otherwise all but the status.
fn written(address: &Address, found: Value, body: Value) -> Value {
    let (mut base, from) = match address.subresource.as_deref() {
        Some("status") => (found, body),
        None if address.has_status() => (body, found),
        _ => return body,
    };
    match from.get("status") {
        Some(status) => base["status"] = status.clone(),
        None => {
            base.as_object_mut().map(|fields| fields.remove("status"));
        }
    }
    base
}
