//! What of workloads the API server refuses, as far as tests write them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::address::Address;

/// Whether the API server takes an object; `before` is the one that is there.
pub(crate) fn allow(address: &Address, before: Option<&Value>, after: &Value) -> bool {
    match address.resource() {
        "pods" => before.is_some() || runs(&after["spec"]),
        "replicasets" => {
            let selector = &after["spec"]["selector"];
            before.is_none_or(|before| before["spec"]["selector"] == *selector)
                && selects_its_own(selector, &after["spec"]["template"])
                && runs(&after["spec"]["template"]["spec"])
        }
        _ => true,
    }
}

/// A selector that selects something, and the template's pods.
fn selects_its_own(selector: &Value, template: &Value) -> bool {
    let labels = &template["metadata"]["labels"];
    let wanted = selector["matchLabels"].as_object();
    let expressions = selector["matchExpressions"].as_array();
    let is_empty = wanted.is_none_or(|wanted| wanted.is_empty())
        && expressions.is_none_or(|expressions| expressions.is_empty());
    let mut wanted = wanted.into_iter().flatten();
    !is_empty && wanted.all(|(key, value)| labels[key] == *value)
}

/// At least one container, and each with an image and a name of its own.
fn runs(spec: &Value) -> bool {
    let list = |name: &str| spec[name].as_array().map_or(&[][..], Vec::as_slice);
    let (containers, others) = (list("containers"), list("initContainers"));
    let mut names = BTreeSet::new();
    let has = |container: &Value, field: &str| {
        container[field]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    };
    !containers.is_empty()
        && containers.iter().chain(others).all(|container| {
            has(container, "image")
                && has(container, "name")
                && names.insert(container["name"].as_str())
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn address(resource: &str) -> Address {
        Address::parse(&format!("/apis/apps/v1/namespaces/store/{resource}/web")).unwrap()
    }

    fn replica_set() -> Value {
        json!({"spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        }})
    }

    #[test]
    fn a_replica_set_selects_the_pods_of_its_template_for_ever() {
        let address = address("replicasets");
        let whole = replica_set();
        assert!(allow(&address, None, &whole));
        let without = |place: &str| {
            let mut object = replica_set();
            object.pointer_mut(place).unwrap().take();
            object
        };
        for place in [
            "/spec/selector",
            "/spec/selector/matchLabels",
            "/spec/template",
            "/spec/template/metadata/labels/app",
            "/spec/template/spec/containers",
        ] {
            assert!(!allow(&address, None, &without(place)), "{place}");
        }
        let mut other = replica_set();
        other["spec"]["selector"]["matchLabels"]["tier"] = "front".into();
        other["spec"]["template"]["metadata"]["labels"]["tier"] = "front".into();
        assert!(allow(&address, None, &other));
        assert!(!allow(&address, Some(&whole), &other));
    }

    #[test]
    fn a_pod_has_containers_with_images_and_names_of_their_own() {
        let taken = |spec: Value| allow(&address("pods"), None, &json!({"spec": spec}));
        let web = json!({"name": "web", "image": "web:1"});
        assert!(taken(json!({"containers": [web]})));
        assert!(!taken(json!({})));
        assert!(!taken(json!({"containers": []})));
        assert!(!taken(json!({"containers": [{"name": "web"}]})));
        assert!(!taken(json!({"containers": [{"image": "web:1"}]})));
        assert!(!taken(
            json!({"containers": [web], "initContainers": [web]})
        ));
    }
}
