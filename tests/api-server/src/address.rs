use std::collections::BTreeMap;

use serde_json::Value;

/// What a request's path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Group and version: `/api/v1`.
    root: String,
    namespace: Option<String>,
    resource: String,
    /// Absent for a collection.
    name: Option<String>,
    pub(crate) subresource: Option<String>,
}

impl Address {
    pub(crate) fn parse(path: &str) -> Option<Address> {
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let roots = if segments.first() == Some(&"api") {
            2
        } else {
            3
        };
        let (root, rest) = segments.split_at_checked(roots)?;
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
            _ => (None, rest),
        };
        let text = |segment: &&str| (*segment).to_owned();
        Some(Address {
            root: format!("/{}", root.join("/")),
            namespace: namespace.map(str::to_owned),
            resource: rest.first().map(text)?,
            name: rest.get(1).map(text),
            subresource: rest.get(2).map(text),
        })
    }

    /// Whether it names many objects.
    pub(crate) fn is_collection(&self) -> bool {
        self.name.is_none()
    }

    /// The path of the object, without a subresource.
    pub(crate) fn object(&self) -> String {
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map_or(String::new(), |name| format!("/namespaces/{name}"));
        let name = self.name.as_deref().unwrap_or_default();
        format!("{}{namespace}/{}/{name}", self.root, self.resource)
    }

    pub(crate) fn with_name(&self, name: &str) -> Address {
        Address {
            name: Some(name.to_owned()),
            ..self.clone()
        }
    }

    /// The path that begins those of all objects of another kind in the same namespace.
    pub(crate) fn sibling(&self, root: &str, resource: &str) -> String {
        let other = Address {
            root: root.to_owned(),
            resource: resource.to_owned(),
            name: None,
            ..self.clone()
        };
        other.object()
    }

    /// Whether it names a pod.
    pub(crate) fn is_pod(&self) -> bool {
        self.root == "/api/v1" && self.resource == "pods"
    }

    /// Whether it names the eviction of a pod.
    pub(crate) fn is_eviction(&self) -> bool {
        self.is_pod() && self.subresource.as_deref() == Some("eviction")
    }

    /// Whether the kind keeps its status apart from the rest.
    pub(crate) fn has_status(&self) -> bool {
        self.resource == "pods" || self.root.starts_with("/apis/outrigger.dev/")
    }

    /// Fills in what the API server takes from the path.
    pub(crate) fn complete(&self, object: &mut Value) {
        let name = self.name.iter().map(|name| ("name", name));
        let namespace = self.namespace.iter().map(|name| ("namespace", name));
        for (field, value) in name.chain(namespace) {
            object["metadata"][field] = value.as_str().into();
        }
    }

    fn contains(&self, other: &Address) -> bool {
        self.root == other.root
            && self.resource == other.resource
            && (self.namespace.is_none() || self.namespace == other.namespace)
    }
}

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

/// The pairs of a query string.
pub(crate) fn query(text: &str) -> BTreeMap<String, String> {
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), unescape(value)))
        .collect()
}

fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3))
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(if bytes[at] == b'+' { b' ' } else { bytes[at] });
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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

    #[test]
    fn a_path_is_taken_apart() {
        let status =
            Address::parse("/apis/outrigger.dev/v1alpha1/namespaces/n/integratedapps/a/status");
        let status = status.unwrap();
        assert_eq!(
            status.object(),
            "/apis/outrigger.dev/v1alpha1/namespaces/n/integratedapps/a"
        );
        assert_eq!(status.subresource.as_deref(), Some("status"));
        assert!(
            Address::parse("/api/v1/namespaces")
                .unwrap()
                .is_collection()
        );
        assert!(
            !Address::parse("/api/v1/namespaces/n")
                .unwrap()
                .is_collection()
        );
    }
}
