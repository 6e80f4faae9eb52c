//! What the operator asks of the API server: the charts allow exactly this.

use std::borrow::Cow;

/// Where a permission is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// In every namespace, or for objects of none.
    Cluster,
    /// In the operator's own namespace.
    Own,
}

/// Leave to do something with one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) scope: Scope,
    pub(crate) group: &'static str,
    /// With its subresource, `pods/status`.
    pub(crate) resource: &'static str,
    /// Of one object only.
    pub(crate) name: Option<Cow<'static, str>>,
    pub(crate) verbs: &'static [&'static str],
}

/// Everything that the operator needs, when `cluster_role` is the name of its role.
pub(crate) fn permissions(cluster_role: &str) -> Vec<Permission> {
    use outrigger_runtime::LEASE_NAME;
    use outrigger_webhook::{CERTIFICATE_SECRET, CONFIGURATION_NAME};

    const READ: &[&str] = &["get", "list", "watch"];
    const FOLLOW: &[&str] = &["list", "watch"];
    const KEEP: &[&str] = &["list", "watch", "create", "patch", "delete"];
    let cluster = |group, resource, verbs| Permission {
        scope: Scope::Cluster,
        group,
        resource,
        name: None,
        verbs,
    };
    let named = |permission: Permission, name: &'static str, verbs| Permission {
        name: Some(name.into()),
        verbs,
        ..permission
    };
    let own = |group, resource, verbs| Permission {
        scope: Scope::Own,
        ..cluster(group, resource, verbs)
    };
    let create = |group, resource| cluster(group, resource, &["create"]);
    let configurations = create(
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    );
    let leases = own("coordination.k8s.io", "leases", &["create"]);
    let secrets = own("", "secrets", &["create"]);
    vec![
        cluster("outrigger.dev", "integratedapps", READ),
        cluster("outrigger.dev", "integrationsidecars", READ),
        cluster("outrigger.dev", "datasets", READ),
        cluster("outrigger.dev", "integratedapps/status", &["patch"]),
        cluster("outrigger.dev", "integrationsidecars/status", &["patch"]),
        cluster("outrigger.dev", "datasets/status", &["patch"]),
        cluster("", "pods", KEEP),
        create("", "pods/eviction"),
        cluster("", "configmaps", KEEP),
        cluster("", "configmaps", &["get"]),
        cluster("", "services", KEEP),
        cluster("", "services", &["get"]),
        cluster("apps", "controllerrevisions", KEEP),
        cluster("apps", "replicasets", &["get"]),
        cluster("apps", "deployments", &["get"]),
        cluster("apps", "statefulsets", &["get"]),
        cluster("batch", "jobs", &["get"]),
        cluster("policy", "poddisruptionbudgets", &["list"]),
        cluster("", "nodes", FOLLOW),
        cluster("", "persistentvolumes", FOLLOW),
        cluster("", "persistentvolumeclaims", FOLLOW),
        cluster("storage.k8s.io", "volumeattachments", FOLLOW),
        cluster("storage.k8s.io", "storageclasses", FOLLOW),
        cluster("", "limitranges", &["list"]),
        cluster("", "resourcequotas", &["list"]),
        cluster("events.k8s.io", "events", &["create", "patch"]),
        configurations.clone(),
        named(
            configurations,
            CONFIGURATION_NAME,
            &["list", "watch", "update", "delete"],
        ),
        Permission {
            name: Some(cluster_role.to_owned().into()),
            ..cluster("rbac.authorization.k8s.io", "clusterroles", &["get"])
        },
        leases.clone(),
        named(leases, LEASE_NAME, &["get", "list", "watch", "update"]),
        secrets.clone(),
        named(secrets, CERTIFICATE_SECRET, &["list", "watch", "update"]),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use std::collections::BTreeSet;

    use outrigger_control::layout::{APPLICATION_LABEL, PREFLIGHT_LABEL, SHARED_LABEL};
    use serde_json::Value;

    use super::*;

    /// Scope, group, resource, name and verb.
    type Right = (Scope, String, String, Option<String>, String);

    fn strings(value: &Value) -> Vec<String> {
        let list = value.as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|item| item.as_str().unwrap().to_owned())
            .collect()
    }

    fn allowed(rules: &Value, scope: Scope) -> Vec<Right> {
        let mut rights = Vec::new();
        for rule in rules.as_array().unwrap() {
            let names = strings(&rule["resourceNames"]);
            let names = match names.is_empty() {
                true => vec![None],
                false => names.into_iter().map(Some).collect(),
            };
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for name in &names {
                        for verb in strings(&rule["verbs"]) {
                            let right = (group.clone(), resource.clone(), name.clone(), verb);
                            rights.push((scope, right.0, right.1, right.2, right.3));
                        }
                    }
                }
            }
        }
        rights
    }

    #[test]
    fn the_manifests_allow_exactly_what_the_operator_needs() {
        let manifest = include_str!("../../../config/operator/rbac.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
        let mut found = Vec::new();
        for object in &objects {
            match (
                object["kind"].as_str().unwrap(),
                object["metadata"]["name"].as_str().unwrap(),
            ) {
                ("ClusterRole", "outrigger") => {
                    found.extend(allowed(&object["rules"], Scope::Cluster));
                }
                ("Role", "outrigger") => found.extend(allowed(&object["rules"], Scope::Own)),
                _ => {}
            }
        }
        let needed: BTreeSet<Right> = permissions("outrigger")
            .into_iter()
            .flat_map(|permission| {
                let Permission {
                    scope,
                    group,
                    resource,
                    name,
                    verbs,
                } = permission;
                verbs.iter().map(move |verb| {
                    let name = name.as_deref().map(str::to_owned);
                    (
                        scope,
                        group.to_owned(),
                        resource.to_owned(),
                        name,
                        (*verb).to_owned(),
                    )
                })
            })
            .collect();
        let count = found.len();
        let found: BTreeSet<Right> = found.into_iter().collect();
        assert_eq!(found.len(), count, "a right is given twice");
        let missing: Vec<_> = needed.difference(&found).collect();
        let needless: Vec<_> = found.difference(&needed).collect();
        assert!(missing.is_empty(), "missing: {missing:#?}");
        assert!(needless.is_empty(), "given, and not needed: {needless:#?}");
    }

    #[test]
    fn the_manifests_keep_others_from_creating_pods_with_labels_that_the_operator_trusts() {
        let manifest = include_str!("../../../config/operator/admission-policies.yaml");
        let objects: Vec<Value> = serde_saphyr::from_multiple(manifest).unwrap();
        let of_kind = |kind: &'static str| {
            let objects = objects.iter();
            objects.filter(move |object| object["kind"] == kind)
        };
        let bound: BTreeSet<_> = of_kind("ValidatingAdmissionPolicyBinding")
            .filter(|binding| strings(&binding["spec"]["validationActions"]) == ["Deny"])
            .map(|binding| binding["spec"]["policyName"].as_str().unwrap())
            .collect();
        let at_creation = |policy: &&Value| {
            let rules = policy["spec"]["matchConstraints"]["resourceRules"].as_array();
            bound.contains(policy["metadata"]["name"].as_str().unwrap())
                && policy["spec"]["failurePolicy"] == "Fail"
                && rules.unwrap().iter().any(|rule| {
                    strings(&rule["operations"]).contains(&"CREATE".to_owned())
                        && strings(&rule["resources"]).contains(&"pods".to_owned())
                })
        };
        let refused: Vec<String> = of_kind("ValidatingAdmissionPolicy")
            .filter(at_creation)
            .flat_map(|policy| policy["spec"]["validations"].as_array().unwrap())
            .map(|validation| validation["expression"].as_str().unwrap().to_owned())
            .collect();
        for label in [PREFLIGHT_LABEL, SHARED_LABEL] {
            let absent = format!("!('{label}' in variables.labels)");
            assert!(refused.contains(&absent), "{label}: {refused:#?}");
        }
        let beside_the_webhook = format!("!('{APPLICATION_LABEL}' in variables.labels) ||");
        let found = refused.iter().any(|it| it.starts_with(&beside_the_webhook));
        assert!(found, "{refused:#?}");
    }
}
