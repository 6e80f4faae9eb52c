use std::collections::BTreeMap;

use outrigger_api_server::ApiServer;
use serde_json::Value;

use crate::{Call, Verb};

/// What differs from run to run: times, and what the API server numbers.
const VOLATILE: [&str; 10] = [
    "controllerRevisionHash",
    "creationTimestamp",
    "eventTime",
    "generation",
    "lastTransitionTime",
    "managedFields",
    "observedGeneration",
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
    /// Of all objects but events.
    pub fn of(api: &ApiServer) -> EndState {
        let objects = api.objects().into_iter();
        let objects = objects.filter(|(path, _)| !path.contains("/events/"));
        EndState {
            objects: objects
                .map(|(path, object)| (path, lasting(object)))
                .collect(),
        }
    }

    /// The objects that another end state has otherwise, or only one of them has: path, here, there.
    pub fn differences(&self, other: &EndState) -> Vec<String> {
        let paths = self.objects.keys().chain(other.objects.keys());
        let paths: std::collections::BTreeSet<_> = paths.collect();
        let different = paths
            .into_iter()
            .map(|path| (path, self.objects.get(path), other.objects.get(path)))
            .filter(|(_, here, there)| here != there);
        let text = |object: Option<&Value>| object.map_or("nothing".into(), Value::to_string);
        different
            .map(|(path, here, there)| format!("{path}:\n  {}\n  {}", text(here), text(there)))
            .collect()
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

/// A value without what differs from run to run, also inside of JSON texts.
fn lasting(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields
                .filter(|(name, value)| !VOLATILE.contains(&name.as_str()) && !value.is_null());
            fields.map(|(name, value)| (name, lasting(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(lasting).collect(),
        Value::String(text) => match serde_json::from_str::<Value>(&text) {
            Ok(inner @ Value::Object(_)) => lasting(inner).to_string().into(),
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
            EndState::of(&api)
        };
        assert_eq!(api("early", "a"), api("late", "a"));
        let differences = api("early", "a").differences(&api("early", "b"));
        assert_eq!(differences.len(), 1);
        assert!(differences[0].starts_with("/api/v1/namespaces/store/pods/web:"));
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
