use std::collections::BTreeMap;

use serde_json::Value;

use crate::kinds::kind;

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

    /// The plural name of the kind, as paths have it.
    pub(crate) fn resource(&self) -> &str {
        &self.resource
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
        self.resource == "pods" || self.is_custom()
    }

    /// Whether the kind is defined by a CustomResourceDefinition.
    pub(crate) fn is_custom(&self) -> bool {
        self.root.starts_with("/apis/outrigger.dev/")
    }

    /// Fills in what the API server takes from the path.
    pub(crate) fn complete(&self, object: &mut Value) {
        let name = self.name.iter().map(|name| ("name", name));
        let namespace = self.namespace.iter().map(|name| ("namespace", name));
        for (field, value) in name.chain(namespace) {
            object["metadata"][field] = value.as_str().into();
        }
    }

    /// `apiVersion` and `kind` of what it names.
    pub(crate) fn type_(&self) -> (&str, Option<&'static str>) {
        let mut prefixes = ["/apis/", "/api/"].iter();
        let api_version = prefixes.find_map(|prefix| self.root.strip_prefix(prefix));
        (api_version.unwrap_or_default(), kind(&self.resource))
    }

    /// Whether another address is of the same kind.
    pub(crate) fn is_of_kind(&self, other: &Address) -> bool {
        self.root == other.root && self.resource == other.resource
    }

    /// Whether another address is of its collection.
    pub(crate) fn contains(&self, other: &Address) -> bool {
        self.is_of_kind(other) && (self.namespace.is_none() || self.namespace == other.namespace)
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
    use super::*;

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
