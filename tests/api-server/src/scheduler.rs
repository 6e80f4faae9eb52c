//! As much of a scheduler as placement needs: it binds a pod without gates to a node that its
//! affinity and its node selector allow, that is ready, not cordoned, and has a place left.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::ApiServer;

/// Binds pods for as long as it is polled. Of the nodes that would do, a pod gets the one with the
/// highest weight of its preferences, then the one with the fewest pods, then the first by name.
pub async fn schedule(api: ApiServer) {
    let mut versions = api.versions();
    loop {
        while step(&api) {}
        if versions.changed().await.is_err() {
            return;
        }
    }
}

/// Binds one pod, or says of one that it cannot be bound. Whether anything was new.
fn step(api: &ApiServer) -> bool {
    let nodes = api.under("/api/v1/nodes/");
    let pods: BTreeMap<String, Value> = api
        .under("/api/v1/namespaces/")
        .into_iter()
        .filter(|object| object["spec"]["containers"].is_array())
        .map(|pod| {
            let metadata = &pod["metadata"];
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                metadata["namespace"].as_str().unwrap_or_default(),
                metadata["name"].as_str().unwrap_or_default()
            );
            (path, pod)
        })
        .collect();
    let taken = |node: &Value| {
        let on = |pod: &&Value| pod["spec"]["nodeName"] == node["metadata"]["name"] && lives(pod);
        pods.values().filter(on).count() as u64
    };
    for (path, pod) in &pods {
        if !waits(pod) {
            continue;
        }
        let mut fitting: Vec<&Value> = nodes
            .iter()
            .filter(|node| fits(pod, node) && taken(node) < places(node))
            .collect();
        fitting.sort_by_key(|node| {
            let name = node["metadata"]["name"].as_str().unwrap_or_default();
            (std::cmp::Reverse(weight(pod, node)), taken(node), name)
        });
        let mut changed = pod.clone();
        match fitting.first() {
            Some(node) => {
                changed["spec"]["nodeName"] = node["metadata"]["name"].clone();
                changed["status"]["phase"] = "Running".into();
                changed["status"]["conditions"] =
                    json!([{"type": "PodScheduled", "status": "True"}]);
            }
            None => {
                changed["status"]["phase"] = "Pending".into();
                changed["status"]["conditions"] = json!([{
                    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                }]);
            }
        }
        if changed != *pod {
            api.put(path, changed);
            return true;
        }
    }
    false
}

fn lives(pod: &Value) -> bool {
    !["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

fn waits(pod: &Value) -> bool {
    let gates = pod["spec"]["schedulingGates"].as_array();
    gates.is_none_or(Vec::is_empty) && pod["spec"]["nodeName"].is_null() && lives(pod)
}

fn places(node: &Value) -> u64 {
    let places = node["status"]["allocatable"]["pods"].as_str();
    places
        .and_then(|places| places.parse().ok())
        .unwrap_or(u64::MAX)
}

fn fits(pod: &Value, node: &Value) -> bool {
    let spec = &pod["spec"];
    let conditions = node["status"]["conditions"].as_array();
    let mut conditions = conditions.into_iter().flatten();
    let ready = conditions.any(|found| found["type"] == "Ready" && found["status"] == "True");
    let selector = spec["nodeSelector"].as_object();
    let required =
        &spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = required["nodeSelectorTerms"].as_array();
    ready
        && node["spec"]["unschedulable"] != true
        && selector
            .into_iter()
            .flatten()
            .all(|(key, value)| node["metadata"]["labels"][key] == *value)
        && terms.is_none_or(|terms| terms.iter().any(|term| matches(term, node)))
}

fn weight(pod: &Value, node: &Value) -> i64 {
    let preferred =
        &pod["spec"]["affinity"]["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"];
    let preferred = preferred.as_array().into_iter().flatten();
    preferred
        .filter(|wish| matches(&wish["preference"], node))
        .filter_map(|wish| wish["weight"].as_i64())
        .sum()
}

/// An empty term matches nothing.
fn matches(term: &Value, node: &Value) -> bool {
    let expressions = term["matchExpressions"].as_array();
    let expressions = expressions.into_iter().flatten().map(|expression| {
        let key = expression["key"].as_str().unwrap_or_default();
        (expression, &node["metadata"]["labels"][key])
    });
    let fields = term["matchFields"].as_array().into_iter().flatten();
    let fields = fields.map(|expression| (expression, &node["metadata"]["name"]));
    let mut all = expressions.chain(fields).peekable();
    all.peek().is_some()
        && all.all(|(expression, found)| {
            let values = expression["values"].as_array();
            let among = values.is_some_and(|values| values.contains(found));
            match expression["operator"].as_str().unwrap_or_default() {
                "In" => among,
                "NotIn" => !among,
                "Exists" => !found.is_null(),
                "DoesNotExist" => found.is_null(),
                other => panic!("operator {other:?}"),
            }
        })
}
