use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether labels satisfy a selector: every label and every expression of it.
///
/// An expression with an operator that does not exist matches nothing, like in the API server,
/// which refuses it.
pub(crate) fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let equal = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    let satisfied = selector
        .match_expressions
        .iter()
        .flatten()
        .all(|requirement| satisfies(requirement, labels));
    equal && satisfied
}

fn satisfies(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let found = labels.get(&requirement.key);
    let listed = |value: &String| {
        requirement
            .values
            .iter()
            .flatten()
            .any(|allowed| allowed == value)
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|value| (*value).into()).collect()),
            }]),
        }
    }

    #[test]
    fn expressions_mean_what_kubernetes_says() {
        let labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]);
        for (key, operator, values, expected) in [
            ("tier", "In", &["web", "db"][..], true),
            ("tier", "In", &["db"], false),
            ("zone", "In", &["a"], false),
            ("tier", "NotIn", &["web"], false),
            ("zone", "NotIn", &["a"], true),
            ("tier", "Exists", &[], true),
            ("zone", "Exists", &[], false),
            ("tier", "DoesNotExist", &[], false),
            ("zone", "DoesNotExist", &[], true),
            ("tier", "Near", &["web"], false),
        ] {
            let found = matches(&selector(key, operator, values), &labels);
            assert_eq!(found, expected, "{key} {operator} {values:?}");
        }
    }
}
