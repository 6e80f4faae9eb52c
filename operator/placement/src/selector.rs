//! Node selectors, evaluated as the scheduler does.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

use crate::Node;

/// Whether a node matches one of the terms. No term matches nothing, and neither does a term
/// without requirements.
pub(crate) fn matches(terms: &[NodeSelectorTerm], node: &Node) -> bool {
    terms.iter().any(|term| matches_term(term, node))
}

fn matches_term(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |requirement: &NodeSelectorRequirement| {
        let found = node.labels.get(&requirement.key).map(String::as_str);
        satisfies(requirement, found)
    };
    !is_empty(term) && expressions.iter().all(label) && fields.iter().all(|field| is(field, node))
}

/// Whether a term has no requirements.
pub(crate) fn is_empty(term: &NodeSelectorTerm) -> bool {
    let none = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
    none(&term.match_expressions) && none(&term.match_fields)
}

/// Whether a label's value, if there is one, satisfies a requirement.
fn satisfies(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|allowed| allowed == value);
    let compared = |compare: fn(&i64, &i64) -> bool| {
        let [bound] = values else { return false };
        let (found, bound) = (found.and_then(integer), integer(bound));
        found
            .zip(bound)
            .is_some_and(|(one, other)| compare(&one, &other))
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compared(i64::gt),
        "Lt" => compared(i64::lt),
        _ => false,
    }
}

fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// Whether a node satisfies a requirement of a field: only its name is one.
fn is(field: &NodeSelectorRequirement, node: &Node) -> bool {
    let [name] = field.values.as_deref().unwrap_or_default() else {
        return false;
    };
    match (field.key.as_str(), field.operator.as_str()) {
        ("metadata.name", "In") => *name == node.name,
        ("metadata.name", "NotIn") => *name != node.name,
        _ => false,
    }
}

/// The first label of a plain `nodeSelector` that a node does not have.
pub(crate) fn unmatched<'a>(
    selector: Option<&'a BTreeMap<String, String>>,
    node: &Node,
) -> Option<(&'a str, &'a str)> {
    let mut labels = selector.into_iter().flatten();
    let (key, value) = labels.find(|(key, value)| node.labels.get(*key) != Some(*value))?;
    Some((key, value))
}

/// Terms for people: `disktype In [ssd] and zone Exists, or metadata.name In [node-1]`.
pub(crate) fn described(terms: &[NodeSelectorTerm]) -> String {
    const MOST: usize = 4;
    let mut listed: Vec<_> = terms.iter().take(MOST).map(described_term).collect();
    if terms.len() > MOST {
        listed.push(format!("{} more terms", terms.len() - MOST));
    }
    if listed.is_empty() {
        return "no term, which matches nothing".to_owned();
    }
    listed.join(", or ")
}

fn described_term(term: &NodeSelectorTerm) -> String {
    let lists = [&term.match_expressions, &term.match_fields];
    let requirements = lists.into_iter().flatten().flatten();
    let described: Vec<_> = requirements.map(described_requirement).collect();
    if described.is_empty() {
        return "an empty term, which matches nothing".to_owned();
    }
    described.join(" and ")
}

fn described_requirement(requirement: &NodeSelectorRequirement) -> String {
    const MOST: usize = 8;
    let NodeSelectorRequirement {
        key,
        operator,
        values,
    } = requirement;
    let values = values.as_deref().unwrap_or_default();
    if values.is_empty() {
        return format!("{key} {operator}");
    }
    let more = if values.len() > MOST { ", …" } else { "" };
    let listed = values[..values.len().min(MOST)].join(", ");
    format!("{key} {operator} [{listed}{more}]")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use serde_json::{Value, json};

    use super::*;

    fn node(name: &str, labels: Value) -> Node {
        let node = json!({"metadata": {"name": name, "labels": labels}});
        Node::new(&serde_json::from_value(node).unwrap(), [])
    }

    fn terms(terms: Value) -> Vec<NodeSelectorTerm> {
        serde_json::from_value(terms).unwrap()
    }

    fn expression(key: &str, operator: &str, values: Value) -> Value {
        json!([{"matchExpressions": [{"key": key, "operator": operator, "values": values}]}])
    }

    #[test]
    fn each_operator_matches_as_in_the_scheduler() {
        let node = node("node-1", json!({"disk": "ssd", "cores": "16", "empty": ""}));
        for (key, operator, values, expected) in [
            ("disk", "In", json!(["hdd", "ssd"]), true),
            ("disk", "In", json!(["SSD"]), false),
            ("absent", "In", json!([""]), false),
            ("empty", "In", json!([""]), true),
            ("disk", "NotIn", json!(["ssd"]), false),
            ("disk", "NotIn", json!(["hdd"]), true),
            ("absent", "NotIn", json!(["ssd"]), true),
            ("empty", "Exists", json!(null), true),
            ("absent", "Exists", json!(null), false),
            ("absent", "DoesNotExist", json!(null), true),
            ("disk", "DoesNotExist", json!(null), false),
            ("cores", "Gt", json!(["8"]), true),
            ("cores", "Gt", json!(["16"]), false),
            ("cores", "Lt", json!(["17"]), true),
            ("cores", "Lt", json!(["16"]), false),
            ("cores", "Gt", json!(["many"]), false),
            ("disk", "Lt", json!(["17"]), false),
            ("absent", "Lt", json!(["17"]), false),
            ("cores", "Gt", json!(["1", "2"]), false),
            ("disk", "Matches", json!(["ssd"]), false),
        ] {
            let text = format!("{key} {operator} {values}");
            let terms = terms(expression(key, operator, values));
            assert_eq!(matches(&terms, &node), expected, "{text}");
        }
    }

    #[test]
    fn expressions_of_a_term_are_joined_by_and_terms_by_or() {
        let both = json!({"matchExpressions": [
            {"key": "disk", "operator": "In", "values": ["ssd"]},
            {"key": "zone", "operator": "Exists"},
        ]});
        let by_name = json!({"matchFields": [
            {"key": "metadata.name", "operator": "In", "values": ["node-2"]},
        ]});
        let terms = terms(json!([both, by_name]));
        assert!(matches(
            &terms,
            &node("node-1", json!({"disk": "ssd", "zone": "a"}))
        ));
        assert!(!matches(&terms, &node("node-1", json!({"disk": "ssd"}))));
        assert!(matches(&terms, &node("node-2", json!({}))));
    }

    #[test]
    fn a_field_is_the_name_and_has_one_value() {
        let field = |key: &str, operator: &str, values: Value| {
            terms(json!([{"matchFields": [{"key": key, "operator": operator, "values": values}]}]))
        };
        let node = node("node-1", json!({}));
        for (terms, expected) in [
            (field("metadata.name", "In", json!(["node-1"])), true),
            (field("metadata.name", "NotIn", json!(["node-1"])), false),
            (field("metadata.name", "NotIn", json!(["node-2"])), true),
            (
                field("metadata.name", "In", json!(["node-1", "node-2"])),
                false,
            ),
            (field("metadata.uid", "In", json!(["node-1"])), false),
            (field("metadata.name", "Exists", json!(null)), false),
        ] {
            assert_eq!(matches(&terms, &node), expected, "{}", described(&terms));
        }
    }

    #[test]
    fn what_is_empty_matches_nothing() {
        let node = node("node-1", json!({}));
        assert!(!matches(&[], &node));
        assert!(!matches(&terms(json!([{}])), &node));
        assert!(!matches(&terms(json!([{"matchExpressions": []}])), &node));
    }

    #[test]
    fn terms_are_described_in_words() {
        let terms = terms(json!([
            {
                "matchExpressions": [
                    {"key": "disk", "operator": "In", "values": ["ssd", "nvme"]},
                    {"key": "zone", "operator": "Exists"},
                ],
            },
            {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]},
        ]));
        assert_eq!(
            described(&terms),
            "disk In [ssd, nvme] and zone Exists, or metadata.name In [node-1]"
        );
    }
}
