//! The hook's rights in the chart are those that a release needs.

use std::collections::BTreeSet;

use http::Method;
use outrigger_release::Place;
use serde_json::Value;

use crate::cluster::{Cluster, GATE, LEASE};

/// Resource with its group, verb, and the name if the right is for one object.
type Right = (String, String, Option<String>);

/// Rules of the chart's roles, whose text needs no values.
fn given() -> BTreeSet<Right> {
    let template = include_str!("../../../../charts/outrigger/templates/release-hook.yaml");
    let lines = template.lines().filter(|line| !line.contains("{{-"));
    let text: Vec<String> = lines
        .map(|line| line.replace("{{ include \"outrigger.name\" . }}", "outrigger"))
        .collect();
    let text = text.join("\n");
    let mut rights = BTreeSet::new();
    for document in text.split("\n---\n") {
        let Some((_, rules)) = document.split_once("\nrules:\n") else {
            continue;
        };
        let rules: Vec<Value> = serde_saphyr::from_str(rules).unwrap();
        for rule in rules {
            let list = |field: &str| -> Vec<String> {
                let found = rule[field].as_array().cloned().unwrap_or_default();
                found
                    .iter()
                    .map(|item| item.as_str().unwrap().to_owned())
                    .collect()
            };
            let names = match list("resourceNames") {
                names if names.is_empty() => vec![None],
                names => names.into_iter().map(Some).collect(),
            };
            for verb in list("verbs") {
                for name in &names {
                    let resource = format!("{}/{}", list("apiGroups")[0], list("resources")[0]);
                    assert!(rights.insert((resource, verb.clone(), name.clone())));
                }
            }
        }
    }
    rights
}

fn asked((method, path): &(Method, String)) -> Right {
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, rest) = match segments.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => panic!("{path}"),
    };
    let rest = match rest {
        ["namespaces", _, rest @ ..] => rest,
        rest => rest,
    };
    let name = rest.get(1).map(|name| (*name).to_owned());
    let verb = match (method.as_str(), &name) {
        ("GET", Some(_)) => "get",
        ("GET", None) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", _) => "delete",
        _ => panic!("{method} {path}"),
    };
    (format!("{group}/{}", rest[0]), verb.to_owned(), name)
}

#[tokio::test(start_paused = true)]
async fn the_hook_may_do_exactly_what_a_release_asks_for() {
    let cluster = Cluster::new();
    cluster.pod("shop", "web", &[GATE]);
    let place = || Place {
        namespace: "outrigger-system".into(),
        cluster_role: "outrigger".into(),
    };
    cluster.release_at(Some(place())).await.1.unwrap();
    cluster.api.delete(LEASE);
    cluster.release_at(Some(place())).await.1.unwrap();
    let given = given();
    let mut used = BTreeSet::new();
    for request in cluster.requests() {
        let (resource, verb, name) = asked(&request);
        let any = (resource.clone(), verb.clone(), None);
        let named = (resource, verb, name);
        let right = [named, any].into_iter().find(|right| given.contains(right));
        used.insert(right.unwrap_or_else(|| panic!("not allowed: {request:?}")));
    }
    let needless: Vec<_> = given.difference(&used).collect();
    assert!(needless.is_empty(), "given, and not needed: {needless:#?}");
}
