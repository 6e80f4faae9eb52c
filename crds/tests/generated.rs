//! The committed manifests are those of the types, and fit where they have to fit.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::path::Path;

use outrigger_api::{Manifest, manifests};
use serde_json::Value;

#[test]
fn committed_manifests_are_current() {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    for directory in ["generated", "../charts/outrigger-crds/files"] {
        for manifest in manifests() {
            let path = crate_directory.join(directory).join(&manifest.file_name);
            let committed = std::fs::read_to_string(&path).unwrap();
            assert!(
                committed == manifest.to_yaml().unwrap(),
                "{} differs from the types: run `make generate`",
                path.display()
            );
        }
    }
}

#[test]
fn kustomize_is_told_of_every_manifest() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("generated/kustomization.yaml");
    let kustomization = std::fs::read_to_string(path).unwrap();
    for manifest in manifests() {
        let entry = format!("  - {}", manifest.file_name);
        assert!(kustomization.lines().any(|line| line == entry), "{entry}");
    }
}

#[test]
fn every_manifest_fits_an_annotation_of_kubectl_apply() {
    for manifest in manifests() {
        let size = serde_json::to_vec(&manifest.definition).unwrap().len();
        assert!(size < 200_000, "{} has {size} bytes", manifest.file_name);
    }
}

#[test]
fn no_spec_field_has_a_schema_default() {
    for manifest in manifests() {
        let yaml = manifest.to_yaml().unwrap();
        let defaults: Vec<_> = yaml
            .lines()
            .filter(|line| line.trim_start().starts_with("default:"))
            .collect();
        assert!(defaults.is_empty(), "{}: {defaults:?}", manifest.file_name);
    }
}

#[test]
fn rules_of_the_schema_name_the_fields_that_they_are_about() {
    let all: Vec<_> = manifests().iter().map(rules).collect();
    for (rules, rule, message) in [
        (
            &all[0],
            "has(self.persistentVolumeClaims) != has(self.hdfs)",
            "exactly one of persistentVolumeClaims and hdfs must be set",
        ),
        (
            &all[1],
            "has(self.workloadRef) != has(self.selector)",
            "exactly one of workloadRef and selector must be set",
        ),
        (
            &all[2],
            "!has(self.functions) || !self.functions.exists(f, has(f.idempotency)) || (has(self.store) && has(self.store.postgresql))",
            "a function of kind idempotency needs store.postgresql",
        ),
        (
            &all[2],
            "!has(self.functions) || self.functions.all(f, self.functions.exists_one(g, g.name == f.name))",
            "functions[].name must be unique",
        ),
        (
            &all[2],
            "has(self.configMapRef) != has(self.secretRef)",
            "exactly one of configMapRef and secretRef must be set",
        ),
    ] {
        let found = rules.iter().find(|(found, _)| found == rule);
        assert_eq!(
            found.map(|(_, message)| message.as_str()),
            Some(message),
            "{rule}"
        );
    }
}

#[test]
fn every_field_is_explained() {
    fn unexplained(path: &str, schema: &Value, missing: &mut Vec<String>) {
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if property["description"].as_str().is_none_or(str::is_empty) {
                missing.push(path.clone());
            }
            unexplained(&path, property, missing);
        }
        if !schema["items"].is_null() {
            unexplained(&format!("{path}[]"), &schema["items"], missing);
        }
    }
    for manifest in manifests() {
        let definition = serde_json::to_value(&manifest.definition).unwrap();
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let mut missing = Vec::new();
        for part in ["spec", "status"] {
            unexplained(part, &schema["properties"][part], &mut missing);
        }
        assert!(missing.is_empty(), "{}: {missing:?}", manifest.file_name);
    }
}

/// Rule and message of each rule in a manifest.
fn rules(manifest: &Manifest) -> Vec<(String, String)> {
    fn collect(value: &Value, rules: &mut Vec<(String, String)>) {
        let found = value["x-kubernetes-validations"].as_array();
        for rule in found.into_iter().flatten() {
            let text = |field: &str| rule[field].as_str().unwrap().to_owned();
            rules.push((text("rule"), text("message")));
        }
        match value {
            Value::Object(fields) => fields.values().for_each(|inner| collect(inner, rules)),
            Value::Array(items) => items.iter().for_each(|inner| collect(inner, rules)),
            _ => {}
        }
    }
    let mut rules = Vec::new();
    collect(
        &serde_json::to_value(&manifest.definition).unwrap(),
        &mut rules,
    );
    rules
}
