use std::collections::{BTreeMap, BTreeSet};

use outrigger_api_server::ApiServer;
use serde_json::Value;

use crate::{Call, Verb};

/// What differs from run to run: times, and what the API server numbers.
const VOLATILE: [&str; 10] = [
    "creationTimestamp",
    "eventTime",
    "generation",
    "lastTransitionTime",
    "managedFields",
    "observedGeneration",
    "podIP",
    "resourceVersion",
    "since",
    "uid",
];

/// What is left when everything has come to rest, without what differs from run to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndState {
    objects: BTreeMap<String, Value>,
}

impl EndState {
    /// Of all objects but events, without some more fields.
    pub fn of(api: &ApiServer, passing: &[&str]) -> EndState {
        let objects = api.objects().into_iter();
        let objects = objects.filter(|(path, _)| !path.contains("/events/"));
        EndState {
            objects: objects
                .map(|(path, object)| (path, lasting(object, passing)))
                .collect(),
        }
    }

    /// Where another end state has something else: path, field, here, there.
    pub fn differences(&self, other: &EndState) -> Vec<String> {
        let paths: BTreeSet<_> = self.objects.keys().chain(other.objects.keys()).collect();
        let mut all = Vec::new();
        for path in paths {
            let of = |state: &EndState| state.objects.get(path).cloned().unwrap_or_default();
            compare(path, &of(self), &of(other), &mut all);
        }
        all
    }

    /// How often the API server created and deleted objects in some calls, by verb and resource,
    /// without events.
    pub fn lives(calls: &[Call]) -> BTreeMap<(Verb, String), usize> {
        let mut counts = BTreeMap::new();
        for call in calls {
            let resource = call.resource();
            let is_life = matches!(call.verb, Verb::Create | Verb::Delete);
            if is_life && call.succeeded() && resource != "events" {
                *counts.entry((call.verb, resource)).or_default() += 1;
            }
        }
        counts
    }
}

fn compare(place: &str, here: &Value, there: &Value, all: &mut Vec<String>) {
    match (here, there) {
        (Value::Object(fields), Value::Object(others)) => {
            let names: BTreeSet<_> = fields.keys().chain(others.keys()).collect();
            for name in names {
                compare(&format!("{place} {name}"), &here[name], &there[name], all);
            }
        }
        _ if here != there => all.push(format!("{place}: {here}, not {there}")),
        _ => {}
    }
}

/// A value without what differs from run to run, also inside of JSON texts.
fn lasting(value: Value, passing: &[&str]) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, value)| {
                let mut left_out = VOLATILE.iter().chain(passing);
                !left_out.any(|other| other == name) && !value.is_null()
            });
            fields
                .map(|(name, value)| (name, lasting(value, passing)))
                .collect()
        }
        Value::Array(items) => {
            let items = items.into_iter();
            items.map(|item| lasting(item, passing)).collect()
        }
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ Value::Object(_)) => lasting(inner, passing).to_string().into(),
            _ => text.into(),
        },
        other => other,
    }
}

/// What an object's conditions have against the rules of kstatus: `Ready` is always there, the
/// others only while they are true, at most one of them, and all are about the newest generation.
pub fn broken_conditions(object: &Value) -> Vec<String> {
    let generation = &object["metadata"]["generation"];
    let status = &object["status"];
    let conditions = status["conditions"].as_array();
    let conditions = conditions.map_or(&[][..], Vec::as_slice);
    let find = |type_: &str| conditions.iter().find(|found| found["type"] == type_);
    let mut broken = Vec::new();
    let ready = find("Ready");
    if ready.is_none() {
        broken.push("there is no condition Ready".to_owned());
    }
    let others: Vec<_> = ["Reconciling", "Stalled"]
        .into_iter()
        .filter_map(find)
        .collect();
    for other in &others {
        if other["status"] != "True" {
            broken.push(format!(
                "condition {} is {}",
                other["type"], other["status"]
            ));
        }
    }
    let is_ready = ready.is_some_and(|ready| ready["status"] == "True");
    if others.len() != usize::from(!is_ready) {
        broken.push(format!("Ready beside {} other conditions", others.len()));
    }
    let observed = conditions.iter().map(|found| &found["observedGeneration"]);
    for found in observed.chain([&status["observedGeneration"]]) {
        if found != generation {
            broken.push(format!(
                "generation {found} is told of instead of {generation}"
            ));
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_end_state_leaves_out_times_and_numbers() {
        let api = |since: &str, image: &str| {
            let api = ApiServer::default();
            let order = json!({"since": since, "term": 2}).to_string();
            api.put(
                "/api/v1/namespaces/store/pods/web",
                json!({"metadata": {"annotations": {"order": order}}, "spec": {"image": image}}),
            );
            EndState::of(&api, &[])
        };
        assert_eq!(api("early", "a"), api("late", "a"));
        assert_eq!(
            api("early", "a").differences(&api("early", "b")),
            [r#"/api/v1/namespaces/store/pods/web spec image: "a", not "b""#]
        );
    }

    #[test]
    fn conditions_keep_the_rules_of_kstatus() {
        let object = |conditions: Value| {
            let status = json!({"observedGeneration": 2, "conditions": conditions});
            broken_conditions(&json!({"metadata": {"generation": 2}, "status": status})).len()
        };
        let condition = |type_: &str, status: &str, generation: u32| json!({"type": type_, "status": status, "observedGeneration": generation});
        let ready = condition("Ready", "True", 2);
        let unready = condition("Ready", "False", 2);
        let stalled = condition("Stalled", "True", 2);
        assert_eq!(object(json!([ready])), 0);
        assert_eq!(object(json!([unready, stalled])), 0);
        assert_eq!(object(json!([unready])), 1);
        assert_eq!(object(json!([ready, stalled])), 1);
        assert_eq!(object(json!([condition("Ready", "True", 1)])), 1);
        assert_eq!(object(json!([ready, condition("Stalled", "False", 2)])), 2);
        assert!(object(json!([])) > 0);
    }
}
