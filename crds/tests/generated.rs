//! The committed manifests are those of the types, and fit where they have to fit.

use std::path::Path;

use outrigger_api::manifests;

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
