//! PersistentVolumes that are directories on nodes' disks.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::control_plane::kubectl;
use crate::error::{Error, FileContext, Result};
use crate::layout::{Layout, remove_tree};
use crate::node;

/// The directory of all volumes, as a node sees it.
const VOLUMES: &str = "/var/lib/local-volumes";

/// A volume on one node's disk, of the StorageClass `local`, filesystem mode, `ReadWriteOnce`, kept
/// when its claim goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalVolume {
    /// The name of the PersistentVolume.
    pub name: String,
    /// The name of the node.
    pub node: String,
    /// Its capacity as a quantity, `1Gi`. Nothing enforces it.
    pub capacity: String,
    /// The namespace and the name of the only claim that may bind it; none is any claim.
    pub claim: Option<(String, String)>,
}

impl LocalVolume {
    /// A volume that any claim may bind.
    pub fn new(
        name: impl Into<String>,
        node: impl Into<String>,
        capacity: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            node: node.into(),
            capacity: capacity.into(),
            claim: None,
        }
    }

    /// The volume for one claim only.
    #[must_use]
    pub fn for_claim(mut self, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        self.claim = Some((namespace.into(), name.into()));
        self
    }

    /// The PersistentVolume.
    pub fn manifest(&self) -> Value {
        let mut manifest = json!({
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": { "name": self.name },
            "spec": {
                "capacity": { "storage": self.capacity },
                "accessModes": ["ReadWriteOnce"],
                "volumeMode": "Filesystem",
                "storageClassName": "local",
                "persistentVolumeReclaimPolicy": "Retain",
                "local": { "path": format!("{VOLUMES}/{}", self.name) },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{
                    "key": "kubernetes.io/hostname", "operator": "In", "values": [self.node],
                }]}]}},
            },
        });
        if let Some((namespace, name)) = &self.claim {
            manifest["spec"]["claimRef"] = json!({
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": name,
            });
        }
        manifest
    }
}

/// The directory of a volume, as this program sees it.
fn directory(layout: &Layout, node: &str, name: &str) -> PathBuf {
    let volumes = VOLUMES.trim_start_matches('/');
    layout.node_root(node).join(volumes).join(name)
}

pub(crate) fn create(layout: &Layout, volume: &LocalVolume) -> Result<PathBuf> {
    check(volume).map_err(|reason| Error::LocalVolume {
        name: volume.name.clone(),
        reason,
    })?;
    let directory = directory(layout, &volume.node, &volume.name);
    fs::create_dir_all(&directory).at("create", &directory)?;
    kubectl(layout)
        .args(["apply", "--server-side", "--force-conflicts", "-f", "-"])
        .stdin(volume.manifest().to_string())
        .run()?;
    Ok(directory)
}

fn check(volume: &LocalVolume) -> Result<(), String> {
    check_name(&volume.name)?;
    let names: Vec<_> = node::all().map(|node| node.name).collect();
    if names.contains(&volume.node) {
        return Ok(());
    }
    let (node, known) = (&volume.node, names.join(", "));
    Err(format!("no node {node:?} in the lab; there are {known}"))
}

/// It is also the name of a directory.
fn check_name(name: &str) -> Result<(), String> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-.".contains(character);
    if name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.chars().all(allowed) {
        return Ok(());
    }
    Err("a name is of letters, digits, '-' and '.'".to_owned())
}

pub(crate) fn remove(layout: &Layout, name: &str) -> Result<()> {
    check_name(name).map_err(|reason| Error::LocalVolume {
        name: name.to_owned(),
        reason,
    })?;
    // A bound one is protected until its claim is gone, which is not this function's to decide.
    kubectl(layout)
        .args(["delete", "persistentvolume", name, "--ignore-not-found"])
        .args(["--request-timeout=0", "--timeout=60s"])
        .run()?;
    node::all()
        .map(|node| directory(layout, &node.name, name))
        .filter(|directory| Path::exists(directory))
        .try_for_each(|directory| remove_tree(&directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_for_its_node_and_its_claim_alone() {
        let volume = LocalVolume::new("data-0", "node-3", "1Gi");
        let spec = &volume.manifest()["spec"];
        let term = &spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0];
        assert_eq!(term["matchExpressions"][0]["values"], json!(["node-3"]));
        assert_eq!(spec["local"]["path"], "/var/lib/local-volumes/data-0");
        assert!(spec["claimRef"].is_null());
        let claim = &volume.for_claim("risk", "data-risk-0").manifest()["spec"]["claimRef"];
        assert_eq!(
            (&claim["namespace"], &claim["name"]),
            (&json!("risk"), &json!("data-risk-0"))
        );
    }

    #[test]
    fn a_volume_on_no_node_or_outside_of_the_directory_is_refused() {
        let refusal = |name, node| check(&LocalVolume::new(name, node, "1Gi")).unwrap_err();
        assert!(refusal("a", "node-9").contains("there are node-1, node-2"));
        assert!(refusal("../a", "node-1").contains("letters, digits"));
        assert_eq!(check(&LocalVolume::new("a.b-1", "node-1", "1Gi")), Ok(()));
    }
}
