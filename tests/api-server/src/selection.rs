use std::collections::BTreeMap;

use serde_json::Value;

use crate::address::Address;

/// What a list or a watch is about: a collection, narrowed by selectors.
#[derive(Clone)]
pub(crate) struct Selection {
    collection: Address,
    labels: Vec<Requirement>,
    fields: Vec<Requirement>,
}

#[derive(Clone)]
enum Requirement {
    Equal(String, String),
    Different(String, String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

impl Selection {
    pub(crate) fn new(collection: Address, query: &BTreeMap<String, String>) -> Selection {
        let parse = |name: &str| {
            let text = query.get(name).map(String::as_str).unwrap_or_default();
            split(text).iter().map(|part| requirement(part)).collect()
        };
        Selection {
            collection,
            labels: parse("labelSelector"),
            fields: parse("fieldSelector"),
        }
    }

    /// Whether it leaves out objects of the collection.
    pub(crate) fn is_narrowed(&self) -> bool {
        !self.labels.is_empty() || !self.fields.is_empty()
    }

    /// `apiVersion` and `kind` of the objects.
    pub(crate) fn type_(&self) -> (&str, Option<&'static str>) {
        self.collection.type_()
    }

    /// Whether the kind is defined by a CustomResourceDefinition.
    pub(crate) fn is_custom(&self) -> bool {
        self.collection.is_custom()
    }

    /// Whether an object is of the same kind, wherever it is.
    pub(crate) fn is_of_kind(&self, path: &str) -> bool {
        Address::parse(path).is_some_and(|address| self.collection.is_of_kind(&address))
    }

    pub(crate) fn selects(&self, path: &str, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"][key].as_str();
        let field = |key: &str| {
            let found = object.pointer(&format!("/{}", key.replace('.', "/")));
            Some(found.and_then(Value::as_str).unwrap_or_default())
        };
        Address::parse(path).is_some_and(|address| self.collection.contains(&address))
            && self.labels.iter().all(|wanted| wanted.holds(label))
            && self.fields.iter().all(|wanted| wanted.holds(field))
    }
}

impl Requirement {
    fn holds<'a>(&self, find: impl Fn(&str) -> Option<&'a str>) -> bool {
        let among = |key: &str, values: &[String]| {
            find(key).is_some_and(|found| values.iter().any(|value| value == found))
        };
        match self {
            Requirement::Equal(key, value) => find(key) == Some(value.as_str()),
            Requirement::Different(key, value) => find(key) != Some(value.as_str()),
            Requirement::In(key, values) => among(key, values),
            Requirement::NotIn(key, values) => !among(key, values),
            Requirement::Exists(key) => find(key).is_some(),
            Requirement::Absent(key) => find(key).is_none(),
        }
    }
}

/// The parts between commas outside parentheses.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for letter in text.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

fn requirement(text: &str) -> Requirement {
    let values = |text: &str| {
        let inner = text.trim().trim_start_matches('(').trim_end_matches(')');
        inner
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect()
    };
    if let Some((key, listed)) = text.split_once(" notin ") {
        return Requirement::NotIn(key.into(), values(listed));
    }
    if let Some((key, listed)) = text.split_once(" in ") {
        return Requirement::In(key.into(), values(listed));
    }
    if let Some((key, value)) = text.split_once("!=") {
        return Requirement::Different(key.into(), value.into());
    }
    if let Some((key, value)) = text.split_once('=') {
        return Requirement::Equal(key.into(), value.trim_start_matches('=').into());
    }
    match text.strip_prefix('!') {
        Some(key) => Requirement::Absent(key.into()),
        None => Requirement::Exists(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::address::query;

    #[test]
    fn selectors_mean_what_kubernetes_says() {
        let pods = Address::parse("/api/v1/pods").unwrap();
        let pod = json!({"metadata": {"name": "p", "labels": {"app": "shop"}}, "status": {"phase": "Running"}});
        for (text, expected) in [
            ("labelSelector=app%3Dshop", true),
            ("labelSelector=app%21%3Dshop", false),
            ("labelSelector=%21app", false),
            ("labelSelector=tier%2Capp", false),
            ("labelSelector=app+in+%28shop%2Cbank%29", true),
            ("labelSelector=app+notin+%28shop%29", false),
            ("labelSelector=tier+notin+%28web%29", true),
            ("fieldSelector=metadata.name%3Dp", true),
            ("fieldSelector=status.phase%21%3DRunning", false),
        ] {
            let selection = Selection::new(pods.clone(), &query(text));
            let found = selection.selects("/api/v1/namespaces/store/pods/p", &pod);
            assert_eq!(found, expected, "{text}");
        }
    }
}
